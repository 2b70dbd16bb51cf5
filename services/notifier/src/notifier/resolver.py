"""Finds the addresses of a callback's host and refuses it if any of them is denied.

The client connects to the addresses returned here and asks nobody again, so that a name can't
answer with one address when it is judged and with another when it is called (DNS rebinding).
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

import aiodns
import pycares
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.callback import CallbackPolicy

_TRIES: Final = 2


class RefusedAddressError(Exception):
    """The callback policy denies an address. Not an OSError: no other address may be tried."""


class GuardedResolver(AbstractResolver):
    """Asks the system's name servers without threads, so slow names don't hold up others.

    Names are taken as complete: the search domains of the notifier's own network aren't tried.
    `timeout` is in seconds and covers everything; `nameservers` replaces the system's.
    """

    def __init__(
        self,
        policy: CallbackPolicy,
        *,
        timeout: float,
        nameservers: Sequence[str] | None = None,
    ) -> None:
        self._policy = policy
        self._timeout = timeout
        self._dns = aiodns.DNSResolver(
            nameservers=nameservers,
            flags=pycares.ARES_FLAG_NOSEARCH,
            timeout=timeout / _TRIES,
            tries=_TRIES,
        )

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return all addresses of `host`.

        Raises:
            OSError: where there are none, or not in time.
            RefusedAddressError: where the policy denies any of them.

        """
        nodes = await self._look_up(host, port, family)
        addresses = [(node.family, node.addr[0].decode("ascii")) for node in nodes]
        for _, address in addresses:
            refuse_denied(self._policy, address)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=found_family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, address in addresses
        ]

    async def close(self) -> None:
        """Abandon what is under way."""
        await self._dns.close()

    async def _look_up(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[pycares.AddrInfoNode]:
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._dns.getaddrinfo(
                    host, family=family, port=port, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            raise OSError(None, f"no answer within {self._timeout:g} s") from None
        except aiodns.error.DNSError as error:
            raise OSError(None, str(error.args[-1])) from error
        if not found.nodes:
            raise OSError(None, "the name has no address")
        return found.nodes


def refuse_denied(policy: CallbackPolicy, address: str) -> None:
    """Raise RefusedAddressError where the policy denies `address`."""
    reason = policy.denial(ip_address(address))
    if reason is not None:
        raise RefusedAddressError(f"the address {address} {reason}")
