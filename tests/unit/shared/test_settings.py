"""Settings: read from the environment, checked at once, and silent about secrets."""

import base64
from datetime import timedelta
from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from shared.settings import (
    CallbackSettings,
    DatabaseSettings,
    JobSettings,
    KafkaSettings,
    LinkSettings,
    LogSettings,
)

KEYS = "1:" + base64.b64encode(b"k" * 32).decode()


def test_kafka_names_carry_the_prefix() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9092", topic_prefix="staging.")

    assert settings.topic("report-jobs.events.v1") == "staging.report-jobs.events.v1"


@pytest.mark.parametrize("prefix", ["a b", "ä", "x" * 65, "a/b", "a\n"])
def test_prefix_that_no_topic_may_have_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError):
        KafkaSettings(bootstrap_servers="127.0.0.1:9092", topic_prefix=prefix)


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2")
    monkeypatch.setenv("KAFKA_PUBLISH_TIMEOUT", "2.5")
    monkeypatch.setenv("JOB_ID_KEYS", KEYS)
    monkeypatch.setenv("REPORT_RETENTION", "P3DT12H")

    assert KafkaSettings().bootstrap_servers == "a:1,b:2"
    assert KafkaSettings().publish_timeout == 2.5
    assert JobSettings().report_retention == timedelta(days=3, hours=12)
    assert JobSettings().key_ring.signing_number == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_time_limit_that_is_none_is_refused(seconds: str) -> None:
    with pytest.raises(ValidationError):
        KafkaSettings.model_validate({"bootstrap_servers": "a:1", "request_timeout": seconds})


def test_settings_are_frozen() -> None:
    settings = LogSettings(log_level="DEBUG")

    with pytest.raises(ValidationError):
        settings.log_level = "INFO"  # type: ignore[misc] # that it can't be set is the point


def test_unknown_log_level_is_refused() -> None:
    with pytest.raises(ValidationError):
        LogSettings(log_level="LOUD")


def test_bad_keys_are_refused_without_being_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        JobSettings.model_validate({"job_id_keys": "1:S3CR3T"})

    assert "S3CR3T" not in str(refused.value)


def test_password_is_shown_neither_in_errors_nor_in_representations() -> None:
    with pytest.raises(ValidationError) as refused:
        DatabaseSettings.model_validate({"database_url": "mysql://user:S3CR3T@host/db"})
    settings = DatabaseSettings.model_validate({"database_url": "postgresql://user:S3CR3T@host/db"})

    assert "S3CR3T" not in str(refused.value)
    assert "S3CR3T" not in repr(settings)


def test_keys_are_not_in_representations() -> None:
    settings = JobSettings.model_validate({"job_id_keys": KEYS})

    assert KEYS[2:12] not in repr(settings)


def test_public_url_loses_its_trailing_slash() -> None:
    settings = LinkSettings.model_validate(
        {"link_keys": KEYS, "public_url": "https://reports.example.com/"}
    )

    assert settings.public_url == "https://reports.example.com"


def test_admitted_networks_are_parsed() -> None:
    settings = CallbackSettings(callback_allowed_networks="127.0.0.0/8, ::1/128,")

    assert settings.networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert CallbackSettings(callback_allowed_networks="").networks == ()


def test_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        CallbackSettings(callback_allowed_networks="127.0.0.1/33")
