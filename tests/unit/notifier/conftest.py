"""Fixtures of the notifier's unit tests."""

import pytest

from tests.unit.notifier.certificates import CertificateAuthority


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    """The authority that the clients of the TLS tests trust."""
    return CertificateAuthority()
