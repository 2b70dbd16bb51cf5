"""What the routes are given: the use cases, and the tenant that asks."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gateway.service import Downloads, Jobs, Submissions


@dataclass(frozen=True, slots=True)
class Services:
    """Built once by `app`, kept in the application's state.

    `path_prefix` is the path of PUBLIC_URL, `report_types` the catalogue's JSON, `body_timeout`
    in seconds.
    """

    submissions: Submissions
    jobs: Jobs
    downloads: Downloads
    report_types: bytes
    path_prefix: str
    body_timeout: float


def services_of(request: Request) -> Services:
    """Return what the application was built with."""
    services: Services = request.app.state.services
    return services


async def current_tenant() -> str:
    """Return the tenant that the request speaks for: there is one, as nobody is asked yet."""
    return "default"


Tenant = Annotated[str, Depends(current_tenant)]
