"""What the gateway refuses to start with."""

import pytest
from pydantic import ValidationError

from gateway.settings import Settings
from gateway.store import ArtifactStore


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
