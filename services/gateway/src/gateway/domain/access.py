"""Who asks, and what they may do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

_TENANT: Final = re.compile(r"[\x21-\x7e]{1,255}")


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


def is_tenant(name: str) -> bool:
    """Tell whether a name can be a tenant's: 1 to 255 visible ASCII characters.

    It goes into the headers of events, into logs and into metrics of others.
    """
    return _TENANT.fullmatch(name) is not None


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Return those scopes that are ours; a token may carry those of other services too."""
    return frozenset(scope for scope in Scope if scope in set(names))
