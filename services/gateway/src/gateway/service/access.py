"""Finds out whom a request speaks for."""

from typing import Final, Protocol

from gateway.domain import Caller

SOLE_TENANT: Final = "default"
"""Whose all jobs are where nobody is asked who they are."""


class Access(Protocol):
    """One way, or several, to tell callers apart."""

    async def authenticate(self, authorization: str | None) -> Caller:
        """Return the caller for the value of the Authorization header.

        Raises:
            NotAuthenticatedError: where it proves nothing.

        """


class OpenAccess:
    """Asks nobody: every request speaks for the one tenant, with all rights."""

    def __init__(self) -> None:
        self._anyone = Caller.anyone(SOLE_TENANT)

    async def authenticate(self, authorization: str | None) -> Caller:  # noqa: ARG002 - it says nothing here
        """Return the one caller that there is."""
        return self._anyone
