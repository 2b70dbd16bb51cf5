"""Finds out whom a request speaks for."""

from typing import Final, Protocol

from gateway.domain import KEY_PREFIX, Caller, NotAuthenticatedError
from gateway.service.access_tokens import AccessTokens
from gateway.service.api_keys import ApiKeys

SOLE_TENANT: Final = "default"
"""Whose all jobs are where nobody is asked who they are."""


class Access(Protocol):
    """One way, or several, to tell callers apart."""

    async def authenticate(self, authorization: str | None) -> Caller:
        """Return the caller for the value of the Authorization header.

        Raises:
            NotAuthenticatedError: where it proves nothing.
            AccessUnavailableError: where it can't be checked at the moment.

        """


class OpenAccess:
    """Asks nobody: every request speaks for the one tenant, with all rights."""

    def __init__(self) -> None:
        self._anyone = Caller.anyone(SOLE_TENANT)

    async def authenticate(self, authorization: str | None) -> Caller:  # noqa: ARG002 - it says nothing here
        """Return the one caller that there is."""
        return self._anyone


class CredentialAccess:
    """Takes API keys, access tokens, or either; None is what this gateway doesn't take."""

    def __init__(self, api_keys: ApiKeys | None, access_tokens: AccessTokens | None) -> None:
        self._api_keys = api_keys
        self._access_tokens = access_tokens

    async def authenticate(self, authorization: str | None) -> Caller:
        """Return the caller; a key is told from a token by its prefix.

        Raises:
            NotAuthenticatedError, AccessUnavailableError: as `Access` says.

        """
        if authorization is None:
            raise NotAuthenticatedError("Send a credential as `Authorization: Bearer ...`.")
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticatedError("The Authorization header must have the scheme Bearer.")
        credential = credential.strip()
        if self._api_keys is not None and (
            self._access_tokens is None or credential.startswith(KEY_PREFIX)
        ):
            return self._api_keys.authenticate(credential)
        if self._access_tokens is not None:
            return await self._access_tokens.authenticate(credential)
        raise NotAuthenticatedError("This gateway takes no credentials.")
