"""`GET /report-types`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.routes import problems
from gateway.routes.contract import ReportTypeList
from gateway.routes.problems import ProblemType
from gateway.routes.services import Reader, services_of

router = APIRouter(tags=["Reports"])


@router.get(
    "/report-types",
    summary="List the report types",
    operation_id="listReportTypes",
    responses={
        200: {"model": ReportTypeList, "description": "The catalogue"},
        **problems.documented(ProblemType.INTERNAL_ERROR),
    },
)
async def list_report_types(request: Request, _tenant: Reader) -> Response:
    """Say which reports can be asked for, in which formats, with which parameters."""
    return Response(services_of(request).report_types, media_type="application/json")
