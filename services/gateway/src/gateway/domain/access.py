"""Who asks, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Scope(StrEnum):
    """A right over one tenant's jobs.

    `submit` makes jobs and steers what it made: submit, retry, cancel. `read` sees jobs and the
    catalogue. `admin` is both, and may delete, which takes a report away from all who could read
    it.
    """

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request speaks for. The tenant comes from the credential, never from the request."""

    tenant: str
    scopes: frozenset[Scope]

    @classmethod
    def anyone(cls, tenant: str) -> Self:
        """Return the caller of a gateway that asks nobody who they are."""
        return cls(tenant, frozenset(Scope))

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller has a right."""
        return scope in self.scopes or Scope.ADMIN in self.scopes
