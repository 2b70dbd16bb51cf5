r"""What a callback URL may look like, judged without asking DNS.

The gateway judges a URL when it is submitted and the notifier judges it again before each attempt.
Only a subset of RFC 3986 passes that every parser reads in the same way: what is written in
disguise (`0x7f.1`, `127。0。0。1`, `http://a\@b`) is refused, not interpreted. So the host that is
judged here is the host that the notifier's client connects to.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from shared.callback.addresses import Address, Network, denial

MAX_URL_CHARACTERS: Final = 2048
_MAX_NAME_CHARACTERS: Final = 253
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_NOT_IN_A_URL = re.compile(r"""[\x00-\x20\x7f"<>\\^`{|}]""")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?]*)(?P<rest>.*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?P<colon>:(?P<port>.*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")

_LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_METADATA_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data"}
)

# Services that never receive webhooks, but read some of what an HTTP client sends them.
_DENIED_PORTS: Final = frozenset(
    {7, 9, 19, 20, 21, 22, 23, 25, 53, 69, 79, 110, 111, 119, 135, 137, 139, 143, 161, 179, 389}
    | {445, 465, 512, 513, 514, 515, 587, 636, 873, 989, 990, 993, 995, 1433, 1521, 2049, 2181}
    | {2375, 2376, 2379, 2380, 3306, 3389, 5432, 5672, 5900, 6000, 6379, 6667, 9042, 9092, 10250}
    | {11211, 27017}
)


class RefusalCode(StrEnum):
    """The kinds of refusal, stable for clients."""

    MALFORMED = "CALLBACK_URL_MALFORMED"
    FORBIDDEN = "CALLBACK_URL_FORBIDDEN"


class CallbackUrlError(ValueError):
    """A callback URL that is refused; the text is for whoever submitted it."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class CallbackPolicy:
    """Which destinations are admitted beyond what is admitted everywhere."""

    allowed_networks: tuple[Network, ...] = ()

    def denial(self, address: Address) -> str | None:
        """Return why `address` must not be called, or None where it may be."""
        return denial(address, self.allowed_networks)

    @property
    def admits_loopback(self) -> bool:
        """Tell whether names that always mean this host are admitted."""
        loopback = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
        return any(self.denial(address) is None for address in loopback)


@dataclass(frozen=True, slots=True)
class CallbackUrl:
    """An admitted URL and its parts.

    `host` is lower case and holds no brackets; `address` is there when the host is a literal.
    """

    text: str
    scheme: str
    host: str
    port: int
    address: Address | None

    @property
    def origin(self) -> str:
        """Return scheme, host and port, which name the server behind the URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def check_callback_url(text: str, policy: CallbackPolicy) -> CallbackUrl:
    """Return the parts of an admitted URL.

    Raises:
        CallbackUrlError: saying what is wrong and, where that isn't obvious, what to write.

    """
    _check_characters(text)
    match = _URL.fullmatch(text)
    if match is None:
        raise _malformed("must begin with http:// or https:// and name a host")
    scheme = match["scheme"].lower()
    host_text, port_text = _split_authority(match["authority"])
    address = _literal(host_text)
    host = host_text.strip("[]").lower()
    if address is None:
        _check_name(host, policy)
    elif (reason := policy.denial(address)) is not None:
        raise _forbidden(f"names the address {address}, which {reason}")
    return CallbackUrl(text, scheme, host, _port(scheme, port_text), address)


def _malformed(problem: str) -> CallbackUrlError:
    return CallbackUrlError(RefusalCode.MALFORMED, problem)


def _forbidden(problem: str) -> CallbackUrlError:
    return CallbackUrlError(RefusalCode.FORBIDDEN, problem)


def _check_characters(text: str) -> None:
    if len(text) > MAX_URL_CHARACTERS:
        raise _malformed(f"must be at most {MAX_URL_CHARACTERS} characters long")
    if _NOT_ASCII.search(text):
        raise _malformed(
            "must be ASCII: write an international host name in its xn-- form and percent-encode "
            "other characters"
        )
    if (bad := _NOT_IN_A_URL.search(text)) is not None:
        raise _malformed(f"must not contain {bad[0]!r}: percent-encode it")
    if _BAD_ESCAPE.search(text):
        raise _malformed("must follow each % with two hexadecimal digits")
    if "#" in text:
        raise _malformed("must not have a fragment (#), because it would not be sent")


def _split_authority(authority: str) -> tuple[str, str | None]:
    """Return the host as written, brackets included, and the text of the port."""
    if "@" in authority:
        raise _malformed("must not carry a user name or password")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise _malformed("must have the form host or host:port after //")
    if not match["host"]:
        raise _malformed("must name a host")
    return match["host"], match["port"]


def _port(scheme: str, text: str | None) -> int:
    if text is None:
        return _DEFAULT_PORTS[scheme]
    if _PORT.fullmatch(text) is None or int(text) > 65535:  # noqa: PLR2004 - the last port there is
        raise _malformed("must have a port from 1 to 65535, in plain digits")
    port = int(text)
    if port in _DENIED_PORTS:
        raise _forbidden(f"names the port {port}, which belongs to a service other than HTTP")
    return port


def _literal(host: str) -> Address | None:
    """Return the address that a host literally is, or None for a name."""
    if host.startswith("["):
        try:
            return IPv6Address(_without_zone(host[1:-1]))
        except AddressValueError:
            raise _malformed("must hold a plain IPv6 address between brackets") from None
    if _NUMERIC_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2].lower()) is None:
        return None
    try:
        return IPv4Address(host)
    except AddressValueError:
        raise _malformed(
            "must write an IPv4 address as four decimal numbers without leading zeros"
        ) from None


def _without_zone(literal: str) -> str:
    if "%" in literal:
        raise _malformed("must not have a zone in an IPv6 address")
    return literal


def _check_name(host: str, policy: CallbackPolicy) -> None:
    labels = host.split(".")
    if len(host) > _MAX_NAME_CHARACTERS or not all(_LABEL.fullmatch(part) for part in labels):
        raise _malformed(
            "must name a host by labels of letters, digits and hyphens, with single dots between "
            "them and none at the end"
        )
    is_loopback = host in _LOOPBACK_NAMES or labels[-1] == "localhost"
    if is_loopback and not policy.admits_loopback:
        raise _forbidden(f"names {host}, which means the notifier's own host")
    if host in _METADATA_NAMES:
        raise _forbidden(f"names {host}, which serves a cloud's metadata")
