"""A certificate authority that only the tests trust."""

import ssl
from datetime import UTC, datetime

import trustme


class CertificateAuthority:
    """Issues certificates for test servers."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def server(self, host: str, *, expired: bool = False) -> ssl.SSLContext:
        not_after = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(host, not_after=not_after).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context
