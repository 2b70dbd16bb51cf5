"""What the notifier refuses to start with, and what it never prints."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from notifier.domain import RetrySchedule
from notifier.settings import Settings
from tests.unit.notifier.samples import SECRET


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFIER_DATABASE_URL", "postgresql://notifier:pw@127.0.0.1/report_jobs")
    monkeypatch.setenv("NOTIFIER_SIGNING_SECRETS", SECRET)


def test_shipped_defaults() -> None:
    settings = Settings()
    assert settings.schedule == RetrySchedule()
    assert (settings.limits.dns, settings.limits.connect, settings.limits.total) == (3, 5, 15)
    assert (settings.host, settings.port) == ("127.0.0.1", 8083)
    assert len(settings.signing_keys) == 1


def test_schedule_is_configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFIER_RETRY_DELAYS", "[0, 1.5]")
    assert Settings().schedule.delays == (timedelta(0), timedelta(seconds=1.5))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOTIFIER_SIGNING_SECRETS", "whsec_c2hvcnQ="),
        ("NOTIFIER_SIGNING_SECRETS", ""),
        ("NOTIFIER_RETRY_DELAYS", "[]"),
        ("NOTIFIER_RETRY_DELAYS", "[-1]"),
        ("NOTIFIER_LEASE", "15"),
        ("NOTIFIER_SLOTS", "0"),
    ],
)
def test_setting_that_makes_no_sense_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert "c2hvcnQ" not in str(raised.value)


def test_secrets_do_not_show() -> None:
    assert "MfKQ" not in repr(Settings())
    assert "pw@" not in repr(Settings())
