"""What the gateway refuses to start with."""

import re
from typing import Final

import pytest
from pydantic import ValidationError

from gateway.settings import Authentication, Settings
from gateway.store import ArtifactStore
from local_stack.paths import CHECKOUT

DOCUMENT: Final = CHECKOUT / "docs" / "gateway.md"


@pytest.fixture(autouse=True)
def database_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://gateway:hunter2@127.0.0.1/x")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_served_without_more_ado(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("GATEWAY_HOST", host)
    assert Settings().host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "reports.example.com", ""])  # noqa: S104
def test_other_hosts_are_served_only_where_a_setting_says_so(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("GATEWAY_HOST", host)
    with pytest.raises(ValidationError, match="GATEWAY_ALLOW_UNAUTHENTICATED_REMOTE") as refusal:
        Settings()
    assert "hunter2" not in str(refusal.value)
    monkeypatch.setenv("GATEWAY_ALLOW_UNAUTHENTICATED_REMOTE", "true")
    assert Settings().host == host


@pytest.mark.parametrize("url", ["nonsense", "ftp://user:hunter2@host/x", "", "s3://"])
def test_an_artifact_store_that_cant_be_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match="ARTIFACTS_URL") as refusal:
        ArtifactStore(url, 1.0)
    assert "hunter2" not in str(refusal.value)


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(
        re.findall(r"^\| `GATEWAY_(\w+)` \| ([^|]*?) ?\|", DOCUMENT.read_text(), flags=re.MULTILINE)
    )
    fields = Settings.model_fields
    assert {name.lower() for name in rows} == set(fields)
    for name, documented in rows.items():
        default = fields[name.lower()].default
        if documented not in {"", "none"}:
            assert documented == (f"{default:g}" if isinstance(default, float) else shown(default))


def shown(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"GATEWAY_AUTH": ""}, "names nothing"),
        ({"GATEWAY_AUTH": "none,api-key"}, "goes with nothing else"),
        ({"GATEWAY_AUTH": "password"}, "Input should be"),
        ({"GATEWAY_AUTH": "oidc"}, "GATEWAY_OIDC_ISSUER"),
        (
            {"GATEWAY_AUTH": "oidc", "GATEWAY_OIDC_ISSUER": "http://id.example.com"},
            "GATEWAY_OIDC_ISSUER",
        ),
        (
            {"GATEWAY_AUTH": "oidc", "GATEWAY_OIDC_ISSUER": "https://id.example.com"},
            "GATEWAY_OIDC_AUDIENCE",
        ),
    ],
)
def test_authentication_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], complaint: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=complaint):
        Settings()


def test_where_callers_are_asked_who_they_are_other_hosts_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_AUTH", " api-key , oidc")
    monkeypatch.setenv("GATEWAY_OIDC_ISSUER", "https://id.example.com")
    monkeypatch.setenv("GATEWAY_OIDC_AUDIENCE", "report-jobs")
    monkeypatch.setenv("GATEWAY_HOST", "0.0.0.0")  # noqa: S104 - what is tested
    assert Settings().auth == {Authentication.API_KEY, Authentication.OIDC}
