"""Signatures by the Standard Webhooks scheme."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from notifier.signing import SigningKey, parse_signing_keys, signature_header
from shared.clock import utc_now

GOLDEN_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + base64.b64encode(b"k" * 64).decode()


def test_golden_vector_of_the_specification() -> None:
    header = signature_header(
        parse_signing_keys(GOLDEN_SECRET),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert header == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("receiver", [GOLDEN_SECRET, OTHER_SECRET])
def test_every_live_key_signs(receiver: str) -> None:
    timestamp = int(utc_now().timestamp())
    keys = parse_signing_keys(f"{OTHER_SECRET}, {GOLDEN_SECRET}")
    header = signature_header(keys, "msg_1", timestamp, b'{"a": 1}')
    Webhook(receiver).verify(b'{"a": 1}', headers(timestamp, header))
    assert len(header.split(" ")) == 2


def test_changed_body_does_not_verify() -> None:
    timestamp = int(utc_now().timestamp())
    header = signature_header(parse_signing_keys(GOLDEN_SECRET), "msg_1", timestamp, b"{}")
    with pytest.raises(WebhookVerificationError):
        Webhook(GOLDEN_SECRET).verify(b"[]", headers(timestamp, header))


@given(st.text(st.characters(codec="utf-8")), st.from_regex(r"msg_[0-9a-f]{32}", fullmatch=True))
def test_reference_implementation_accepts_what_is_signed(body: str, webhook_id: str) -> None:
    timestamp = int(utc_now().timestamp())
    header = signature_header(
        parse_signing_keys(OTHER_SECRET), webhook_id, timestamp, body.encode()
    )
    reference = headers(timestamp, header) | {"webhook-id": webhook_id}
    Webhook(OTHER_SECRET).verify(body.encode(), reference, json_parse=False)


@pytest.mark.parametrize("length", [24, 32, 64])
def test_secret_of_24_to_64_bytes_is_taken(length: int) -> None:
    secret = bytes(range(length))
    assert SigningKey.parse("whsec_" + base64.b64encode(secret).decode()).secret == secret


@pytest.mark.parametrize(
    "text",
    [
        "", "whsec_", ",", GOLDEN_SECRET + ",", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_",
        "whsec_MfKQ9r8G KYqrTwjUPD8ILPZIo2LaLaSw", GOLDEN_SECRET + "=", "whsec_\u00e9" * 40,
        "whsec_" + base64.b64encode(b"x" * 25).decode().rstrip("="),
    ],
)  # fmt: skip
def test_anything_else_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"entry \d: a signing secret must") as raised:
        parse_signing_keys(text)
    assert not re.search(r"MfKQ|eHh4", str(raised.value))


def test_key_does_not_show_in_its_representation() -> None:
    assert "secret" not in repr(parse_signing_keys(GOLDEN_SECRET))


def headers(timestamp: int, signature: str) -> dict[str, str]:
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }
