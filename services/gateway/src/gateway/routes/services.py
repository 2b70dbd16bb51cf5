"""What the routes are given: the use cases, and the tenant that asks.

Every route of a tenant's data takes its tenant as `Submitter`, `Reader` or `Admin`, which names
the scope that it needs: so a request without that right never reaches the route.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gateway.domain import AccessUnavailableError, NotAuthenticatedError, NotPermittedError, Scope
from gateway.routes.observing import ANSWER_FIELDS
from gateway.routes.representations import Representations
from gateway.service import (
    Access,
    Actions,
    Downloads,
    Jobs,
    KeyedSubmissions,
    RateLimits,
    Submissions,
)
from gateway.service.following import Following


@dataclass(frozen=True, slots=True)
class Services:
    """Built once by `app`, kept in the application's state.

    `path_prefix` is the path of PUBLIC_URL, `report_types` the catalogue's JSON, `body_timeout`,
    `client_timeout` and `longest_wait` in seconds. `revision` stands for all that a job's JSON
    shows beside what is stored of the job.
    """

    access: Access
    rate_limits: RateLimits
    submissions: Submissions
    keyed_submissions: KeyedSubmissions
    jobs: Jobs
    representations: Representations
    following: Following
    actions: Actions
    downloads: Downloads
    report_types: bytes
    revision: str
    path_prefix: str
    body_timeout: float
    client_timeout: float
    longest_wait: int


def services_of(request: Request) -> Services:
    """Return what the application was built with."""
    services: Services = request.app.state.services
    return services


@dataclass(frozen=True, slots=True)
class Requires:
    """A dependency: the tenant of a caller who has `scope`. `routes.openapi` documents it."""

    scope: Scope

    async def __call__(self, request: Request) -> str:
        """Return the tenant, or end the request with 401, 403 or 429."""
        services = services_of(request)
        caller = await services.access.authenticate(_authorization(request))
        if not caller.may(self.scope):
            raise NotPermittedError(self.scope)
        request.scope[ANSWER_FIELDS] = services.rate_limits.spend(caller.tenant, self.scope)
        return caller.tenant


async def is_still_let_in(request: Request, tenant: str, scope: Scope) -> bool:
    """Tell whether a request that was let in would be still; where that can't be told, it is."""
    try:
        caller = await services_of(request).access.authenticate(_authorization(request))
    except NotAuthenticatedError:
        return False
    except AccessUnavailableError:
        return True
    return caller.tenant == tenant and caller.may(scope)


def _authorization(request: Request) -> str | None:
    """Return the one header there may be: of two, others in between may take the other."""
    values = request.headers.getlist("authorization")
    if len(values) > 1:
        raise NotAuthenticatedError("There is more than one Authorization header.")
    return values[0] if values else None


Submitter = Annotated[str, Depends(Requires(Scope.SUBMIT))]
Reader = Annotated[str, Depends(Requires(Scope.READ))]
Admin = Annotated[str, Depends(Requires(Scope.ADMIN))]
