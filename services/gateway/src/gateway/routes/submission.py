"""`POST /generate-report`."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.routes import examples, idempotency, problems
from gateway.routes.body import read_report_request
from gateway.routes.contract import ReportJob, ReportValidation, accepted_json
from gateway.routes.direct import DirectRoute
from gateway.routes.problems import ProblemType
from gateway.routes.resource import JsonAnswer
from gateway.routes.services import Submitter, services_of
from shared.telemetry.trace import accepted_traceparent

router = APIRouter(tags=["Reports"], route_class=DirectRoute)

_REPLAYED: Final = {"idempotent-replayed": "true"}
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/GenerateReportRequest"},
            "examples": examples.REQUESTS,
        }
    },
}
_CALLBACKS: Final[dict[str, Any]] = {
    "reportJobEnded": {
        "{$request.body#/callbackUrl}": {
            "post": {
                "operationId": "reportJobEnded",
                "summary": "Tell that a job has ended",
                "description": "A signed webhook (Standard Webhooks), sent at least once and again"
                " until the answer is 2xx. Repeats have the same webhook-id.",
                "parameters": [
                    {
                        "in": "header",
                        "name": name,
                        "required": True,
                        "description": description,
                        "schema": {"type": "string"},
                    }
                    for name, description in {
                        "webhook-id": "The same for each try; remember it to drop repeats.",
                        "webhook-timestamp": "Unix seconds of this try.",
                        "webhook-signature": "Over id.timestamp.body: v1,<base64>, one per key.",
                    }.items()
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/ReportJobEnded"},
                            "examples": examples.CALLBACKS,
                        }
                    },
                },
                "responses": {"2XX": {"description": "Received; there will be no more tries."}},
            }
        }
    }
}

_ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "model": ReportJob,
        "description": "Report job accepted for asynchronous processing",
        "headers": {
            "Location": {
                "description": "Path of the job.",
                "schema": {
                    "type": "string",
                    "format": "uri-reference",
                    "example": "/report-jobs/job_12345",
                },
            },
            "Retry-After": problems.RETRY_AFTER_HEADER,
            "Idempotent-Replayed": idempotency.REPLAYED_HEADER,
        },
        "content": {"application/json": {"examples": {"default": {"value": examples.ACCEPTED}}}},
    }
}
_VALID: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": ReportValidation,
        "description": "The request is valid; `validateOnly` was asked for, so there is no job",
        "content": {"application/json": {"examples": {"valid": {"value": examples.VALID}}}},
    }
}


@router.post(
    "/generate-report",
    status_code=202,
    summary="Submit a report generation job",
    operation_id="generateReport",
    openapi_extra={
        "parameters": [idempotency.PARAMETER],
        "requestBody": _BODY,
        "callbacks": _CALLBACKS,
    },
    responses={
        **_ACCEPTED,
        **_VALID,
        **problems.documented(
            ProblemType.IDEMPOTENCY_KEY_INVALID,
            ProblemType.MALFORMED_JSON,
            ProblemType.BODY_TIMEOUT,
            ProblemType.BODY_TOO_LARGE,
            ProblemType.UNSUPPORTED_MEDIA_TYPE,
            ProblemType.INVALID_REQUEST,
            ProblemType.IDEMPOTENCY_KEY_REUSED,
            ProblemType.TOO_MANY_ACTIVE_JOBS,
            ProblemType.INTERNAL_ERROR,
            ProblemType.UNAVAILABLE,
        ),
    },
)
async def generate_report(request: Request, tenant: Submitter) -> Response:
    """Accept a report request as a job to poll.

    202 is answered once the request is stored durably. After a 503 it is unknown whether the
    job was accepted; repeated with the same `Idempotency-Key`, the request is one job all the same.
    """
    services = services_of(request)
    asked = await read_report_request(request, services.body_timeout)
    key = idempotency.read_key(request)
    if asked.validate_only:
        services.submissions.check(asked)
        return _json(ReportValidation(request=asked).json_bytes(), 200, {})
    traceparent = accepted_traceparent(request.headers.get("traceparent"))
    if key is None:
        event, replayed = await services.submissions.submit(asked, tenant, traceparent), {}
    else:
        accepted = await services.keyed_submissions.submit(asked, tenant, key, traceparent)
        event, replayed = accepted.event, _REPLAYED if accepted.is_replay else {}
    headers = {
        "location": f"{services.path_prefix}/report-jobs/{event.job_id}",
        "retry-after": str(services.jobs.poll_interval(event.created_at)),
    }
    job = accepted_json(event, services.jobs.expiry(event.created_at))
    return _json(job, 202, {**headers, **replayed})


def _json(body: bytes, status: int, headers: Mapping[str, str]) -> Response:
    fields = {**headers, "cache-control": "no-store"}
    return JsonAnswer(body, fields.items(), status)
