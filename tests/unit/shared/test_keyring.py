"""Key rings: parsing that never shows key material, signing with the first, verifying with all."""

import base64

import pytest

from shared.keyring import KeyRing

KEY = base64.b64encode(b"k" * 32).decode()
LONG = base64.b64encode(b"l" * 64).decode()


def test_first_key_signs() -> None:
    ring = KeyRing.parse(f"7:{KEY}, 3:{LONG}")

    assert ring.signing_number == 7
    assert ring.verify(7, b"message", ring.sign(b"message"))


def test_every_key_verifies() -> None:
    before = KeyRing.parse(f"3:{KEY}")
    after = KeyRing.parse(f"4:{LONG},3:{KEY}")

    assert after.verify(3, b"message", before.sign(b"message"))


def test_prefix_of_a_mac_verifies_from_eight_bytes_on() -> None:
    ring = KeyRing.parse(f"1:{KEY}")
    mac = ring.sign(b"message")

    assert ring.verify(1, b"message", mac[:8])
    assert not ring.verify(1, b"message", mac[:7])
    assert not ring.verify(1, b"message", b"")
    assert not ring.verify(1, b"message", mac + b"\0")


def test_other_message_or_number_does_not_verify() -> None:
    ring = KeyRing.parse(f"1:{KEY},2:{LONG}")
    mac = ring.sign(b"message")

    assert not ring.verify(1, b"massage", mac)
    assert not ring.verify(2, b"message", mac)
    assert not ring.verify(9, b"message", mac)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "entry 1 is not"),
        (KEY, "entry 1 is not"),
        (f"256:{KEY}", "entry 1 is not"),
        (f"-1:{KEY}", "entry 1 is not"),
        (f"²:{KEY}", "entry 1 is not"),
        (f"1:{KEY},", "entry 2 is not"),
        ("1:" + "not base64!" * 5, "entry 1 is not valid base64"),
        ("1:" + base64.b64encode(b"k" * 31).decode(), "entry 1 is shorter than 32 bytes"),
        (f"1:{KEY},1:{LONG}", "entry 2: the number 1 is used twice"),
    ],
)
def test_bad_text_is_refused_by_position(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        KeyRing.parse(text)


@pytest.mark.parametrize("text", ["1:" + "S3CR3T" * 10 + "!", f"x:{KEY}", f"1:{KEY},1:{LONG}"])
def test_error_shows_no_key_material(text: str) -> None:
    with pytest.raises(ValueError, match="key entry") as refused:
        KeyRing.parse(text)

    shown = str(refused.value) + repr(refused.value.__cause__)
    assert "S3CR3T" not in shown
    assert KEY[:10] not in shown
    assert LONG[:10] not in shown


def test_representation_shows_no_key_material() -> None:
    assert "kkk" not in repr(KeyRing.parse(f"1:{KEY}"))
