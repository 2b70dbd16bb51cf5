"""Download links: the same wherever shown, worth nothing when changed, gone when expired."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.keyring import KeyRing
from shared.links import DownloadLinks, LinkVerdict

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPIRY = NOON + timedelta(days=7)
KEYS = KeyRing(signing_number=1, keys={1: b"1" * 32})
ROTATED = KeyRing(signing_number=2, keys={2: b"2" * 32, 1: b"1" * 32})
JOB = "job_" + "0" * 40


def links(keys: KeyRing = KEYS, now: datetime = NOON) -> DownloadLinks:
    return DownloadLinks("https://reports.example.com/base", keys, lambda: now)


def parts(url: str) -> tuple[str, str]:
    query = parse_qs(urlsplit(url).query, strict_parsing=True)
    return query["exp"][0], query["sig"][0]


def test_link_is_valid_until_it_expires() -> None:
    exp, sig = parts(links().url(JOB, EXPIRY))

    assert links().check(JOB, exp, sig) is LinkVerdict.VALID
    assert links(now=EXPIRY - timedelta(seconds=1)).check(JOB, exp, sig) is LinkVerdict.VALID
    assert links(now=EXPIRY).check(JOB, exp, sig) is LinkVerdict.EXPIRED


def test_link_is_the_same_each_time() -> None:
    assert links().url(JOB, EXPIRY) == links(now=EXPIRY).url(JOB, EXPIRY)
    assert (
        links()
        .url(JOB, EXPIRY)
        .startswith(f"https://reports.example.com/base/report-jobs/{JOB}/download?exp=")
    )


def test_link_stays_valid_after_the_key_was_rotated() -> None:
    exp, sig = parts(links().url(JOB, EXPIRY))

    assert links(ROTATED).check(JOB, exp, sig) is LinkVerdict.VALID


def test_link_of_another_job_or_expiry_is_forged() -> None:
    exp, sig = parts(links().url(JOB, EXPIRY))

    assert links().check("job_" + "1" * 40, exp, sig) is LinkVerdict.FORGED
    assert links().check(JOB, str(int(exp) + 1), sig) is LinkVerdict.FORGED


def test_forged_link_is_never_called_expired() -> None:
    _, sig = parts(links().url(JOB, EXPIRY))

    assert links(now=EXPIRY + timedelta(days=9)).check(JOB, "1", sig) is LinkVerdict.FORGED


@given(place=st.integers(0, 43), character=st.characters(codec="ascii"))
def test_every_changed_character_of_a_signature_is_noticed(place: int, character: str) -> None:
    exp, sig = parts(links().url(JOB, EXPIRY))
    changed = sig[:place] + character + sig[place + 1 :]

    is_same = changed == sig
    assert (links().check(JOB, exp, changed) is LinkVerdict.VALID) == is_same


@given(exp=st.text(), sig=st.text())
def test_any_text_is_judged_without_an_error(exp: str, sig: str) -> None:
    assert links().check(JOB, exp, sig) is LinkVerdict.FORGED


@pytest.mark.parametrize("spelling", ["+{}", " {}", "0{}", "{}.0", "{}\n", "{}_0"])
def test_expiry_has_one_spelling(spelling: str) -> None:
    exp, sig = parts(links().url(JOB, EXPIRY))

    assert links().check(JOB, spelling.format(exp), sig) is LinkVerdict.FORGED


@pytest.mark.parametrize("length", [0, 1, 9, 32, 34])
def test_signature_of_another_length_is_forged(length: int) -> None:
    exp, sig = parts(links().url(JOB, EXPIRY))
    raw = (base64.urlsafe_b64decode(sig) + b"\0")[:length]
    cut = base64.urlsafe_b64encode(raw).decode()

    assert links().check(JOB, exp, cut) is LinkVerdict.FORGED
