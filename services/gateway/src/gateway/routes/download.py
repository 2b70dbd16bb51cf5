"""`GET` and `HEAD /report-jobs/{jobId}/download`."""

import base64
import re
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from gateway.domain import StoredArtifact
from gateway.routes import problems
from gateway.routes.problems import ProblemType
from gateway.routes.services import services_of

router = APIRouter(tags=["Reports"])

_NOT_IN_A_PLAIN_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+(; [a-z]+=[A-Za-z0-9_-]+)*")
_HEADERS: Final[dict[str, Any]] = {
    name: {"description": description, "schema": {"type": "string"}}
    for name, description in {
        "Content-Disposition": "Name for the file.",
        "ETag": "Changes when the file does.",
        "Repr-Digest": "SHA-256 of the file (RFC 9530).",
    }.items()
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The report",
        "headers": _HEADERS,
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in ("text/csv", "application/json", "application/pdf")
        },
    },
    **problems.documented(
        ProblemType.LINK_INVALID,
        ProblemType.JOB_NOT_FOUND,
        ProblemType.ARTIFACT_MISSING,
        ProblemType.REPORT_NOT_READY,
        ProblemType.JOB_EXPIRED,
        ProblemType.LINK_EXPIRED,
        ProblemType.INTERNAL_ERROR,
        ProblemType.UNAVAILABLE,
    ),
}


@router.head(
    "/report-jobs/{jobId}/download",
    summary="Describe a report's file",
    operation_id="headReport",
    response_class=Response,
    responses=_RESPONSES,
)
@router.get(
    "/report-jobs/{jobId}/download",
    summary="Download a report",
    operation_id="downloadReport",
    response_class=Response,
    responses=_RESPONSES,
)
async def download_report(
    request: Request,
    job_id: Annotated[str, Path(alias="jobId")],
    exp: Annotated[str, Query(description="Part of the link.")] = "",
    sig: Annotated[str, Query(description="Part of the link.")] = "",
) -> Response:
    """Fetch the report of a COMPLETED job. Use its `downloadUrl` as it is.

    The link is the credential: its signature names this job and the moment it ends, and none but
    those who could read the job were ever shown it.
    """
    download = await services_of(request).downloads.fetch(
        job_id, exp=exp, sig=sig, with_content=request.method != "HEAD"
    )
    headers = _headers_of(download.artifact)
    if download.chunks is None:
        return Response(headers=headers)
    return StreamingResponse(download.chunks, headers=headers)


def _headers_of(artifact: StoredArtifact) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(artifact.sha256)).decode()
    return {
        "content-type": _content_type(artifact.media_type),
        "content-length": str(artifact.byte_count),
        "content-disposition": _content_disposition(artifact.file_name),
        "etag": f'"{artifact.sha256}"',
        "repr-digest": f"sha-256=:{digest}:",
        "cache-control": "private",
        "x-content-type-options": "nosniff",
    }


def _content_type(media_type: str) -> str:
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"


def _content_disposition(file_name: str) -> str:
    """Name the file in plain characters and, where these don't do, in full too (RFC 8187)."""
    plain = _NOT_IN_A_PLAIN_NAME.sub("_", file_name)
    disposition = f'attachment; filename="{plain}"'
    if plain != file_name:
        disposition += f"; filename*=UTF-8''{quote(file_name, safe='', errors='replace')}"
    return disposition
