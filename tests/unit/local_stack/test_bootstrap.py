import base64

from local_stack.bootstrap import derive_password, scram_verifier, with_database, with_user


def test_verifier_is_that_of_the_standard() -> None:
    """The example of RFC 7677, section 3."""
    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))

    assert verifier == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_password_of_a_role_depends_on_secret_and_role() -> None:
    assert derive_password("secret", "gateway") == derive_password("secret", "gateway")
    assert derive_password("secret", "gateway") != derive_password("secret", "notifier")
    assert derive_password("secret", "gateway") != derive_password("other", "gateway")


def test_other_credentials_keep_host_database_and_options() -> None:
    url = "postgresql://admin:p%40ss@db.example:6432/jobs?sslmode=require"

    assert with_user(url, "gateway", "a/b@c") == (
        "postgresql://gateway:a%2Fb%40c@db.example:6432/jobs?sslmode=require"
    )


def test_other_database_keeps_the_rest() -> None:
    url = "postgresql://admin:pw@db.example:6432/jobs?sslmode=require"

    assert with_database(url, "other") == (
        "postgresql://admin:pw@db.example:6432/other?sslmode=require"
    )
