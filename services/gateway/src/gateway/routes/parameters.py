"""What holds for the query of a request as a whole."""

from collections import Counter

from fastapi import Request
from fastapi.routing import APIRoute

from gateway.domain import RequestRefusedError
from gateway.routes.services import Reader
from shared.report_request import Violation


async def each_parameter_once(request: Request, _tenant: Reader) -> None:
    """Refuse a query that says a parameter twice: readers differ on which of them counts.

    It takes the tenant so that whoever asks is known first, as everywhere.

    Raises:
        RequestRefusedError: naming the parameters; those that the route doesn't know don't matter.

    """
    route: APIRoute = request.scope["route"]
    counts = Counter(name for name, _ in request.query_params.multi_items())
    repeated = [one.alias for one in route.dependant.query_params if counts[one.alias] > 1]
    if repeated:
        raise RequestRefusedError(
            [
                Violation(field=f"/{name}", code="REPEATED", message="may be given once")
                for name in repeated
            ]
        )
