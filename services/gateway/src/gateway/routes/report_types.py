"""`GET /report-types`."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.routes import examples, problems
from gateway.routes.contract import ReportTypeList
from gateway.routes.direct import DirectRoute
from gateway.routes.problems import ProblemType
from gateway.routes.services import Reader, services_of

router = APIRouter(tags=["Reports"], route_class=DirectRoute)


_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": ReportTypeList,
        "description": "The catalogue",
        "content": {"application/json": {"examples": examples.REPORT_TYPES}},
    },
    **problems.documented(ProblemType.INTERNAL_ERROR),
}


@router.head(
    "/report-types",
    summary="Get the headers of the report types",
    operation_id="headReportTypes",
    responses=_RESPONSES,
)
@router.get(
    "/report-types",
    summary="List the report types",
    operation_id="listReportTypes",
    responses=_RESPONSES,
)
async def list_report_types(request: Request, _tenant: Reader) -> Response:
    """Say which reports can be asked for, in which formats, with which parameters."""
    return Response(services_of(request).report_types, media_type="application/json")
