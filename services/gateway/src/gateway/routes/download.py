"""`GET` and `HEAD /report-jobs/{jobId}/download`."""

import base64
import re
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from gateway.domain import Conditions
from gateway.routes import problems
from gateway.routes.direct import DirectRoute
from gateway.routes.problems import ProblemType
from gateway.routes.sending import FileStream
from gateway.routes.services import services_of
from gateway.service.downloads import Download, Elsewhere, FileRequest, NotModified, ReportFile

router = APIRouter(tags=["Reports"], route_class=DirectRoute)

_NOT_IN_A_PLAIN_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+(; [a-z]+=[A-Za-z0-9_-]+)*")
_MEDIA_TYPES: Final = (
    "text/csv",
    "application/json",
    "application/pdf",
    "application/x-ndjson",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)


def _documented_headers(**descriptions: str) -> dict[str, Any]:
    return {
        name.replace("_", "-"): {"description": description, "schema": {"type": "string"}}
        for name, description in descriptions.items()
    }


_VALIDATORS: Final = _documented_headers(
    ETag="Changes when the file does.", Last_Modified="When the report was finished."
)
_HEADERS: Final = {
    **_VALIDATORS,
    **_documented_headers(
        Accept_Ranges="`bytes`: a part of the file can be asked for, so a download can be resumed.",
        Content_Disposition="Name for the file.",
        Repr_Digest="SHA-256 of the whole file (RFC 9530), also where a part of it is sent.",
    ),
}
_CONTENT: Final = {
    media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _MEDIA_TYPES
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The report", "headers": _HEADERS, "content": _CONTENT},
    206: {
        "description": "The part of the report that Range asks for",
        "headers": {
            **_HEADERS,
            **_documented_headers(Content_Range="Which bytes these are, and of how many."),
        },
        "content": _CONTENT,
    },
    304: {"description": "The client has this file already", "headers": _VALIDATORS},
    307: {
        "description": "The store has the file, at a URL that works for a few minutes. Follow it"
        " with the same headers, and come back to this link for a new one.",
        "headers": _documented_headers(
            Location="Where the file is.",
            Repr_Digest="SHA-256 of the whole file there; the store doesn't say it.",
        ),
    },
    **problems.documented(
        ProblemType.LINK_INVALID,
        ProblemType.JOB_NOT_FOUND,
        ProblemType.ARTIFACT_MISSING,
        ProblemType.REPORT_NOT_READY,
        ProblemType.JOB_EXPIRED,
        ProblemType.LINK_EXPIRED,
        ProblemType.PRECONDITION_FAILED,
        ProblemType.RANGE_NOT_SATISFIABLE,
        ProblemType.INTERNAL_ERROR,
        ProblemType.UNAVAILABLE,
    ),
}
_RANGE: Final = (
    ("Range", "One range of bytes, such as `bytes=1000-`; several get the whole file."),
    ("If-Range", "The ETag (or Last-Modified) that the range belongs to; else the whole file."),
)
_CONDITIONS: Final = (
    ("If-None-Match", "ETags of files that the client has."),
    ("If-Modified-Since", "Last-Modified of the file that the client has."),
    ("If-Match", "ETags of files that the client wants a part of."),
    ("If-Unmodified-Since", "Last-Modified of the file that the client wants a part of."),
)


def _documented_parameters(*parameters: tuple[str, str]) -> dict[str, Any]:
    return {
        "parameters": [
            {"in": "header", "name": name, "description": said, "schema": {"type": "string"}}
            for name, said in parameters
        ]
    }


@router.head(
    "/report-jobs/{jobId}/download",
    summary="Describe a report's file",
    operation_id="headReport",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_documented_parameters(*_CONDITIONS),
)
@router.get(
    "/report-jobs/{jobId}/download",
    summary="Download a report",
    operation_id="downloadReport",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_documented_parameters(*_RANGE, *_CONDITIONS),
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
    services = services_of(request)
    found = await services.downloads.fetch(job_id, _asked(request), exp=exp, sig=sig)
    match found:
        case Elsewhere(file, url):
            headers = {
                "location": url,
                "cache-control": "no-store",
                "repr-digest": _repr_digest(file),
            }
            return Response(status_code=307, headers=headers)
        case NotModified(file):
            return Response(status_code=304, headers=_validators(file))
        case Download():
            return _file(found, services.client_timeout)


def _file(download: Download, client_timeout: float) -> Response:
    headers = _headers_of(download)
    if download.chunks is None:
        return Response(headers=headers)
    status = 200 if download.part is None else 206
    return FileStream(download.chunks, status, headers, client_timeout)


def _asked(request: Request) -> FileRequest:
    headers = request.headers
    return FileRequest(
        method="HEAD" if request.method == "HEAD" else "GET",
        conditions=Conditions(
            if_match=_joined(request, "if-match"),
            if_none_match=_joined(request, "if-none-match"),
            if_modified_since=headers.get("if-modified-since"),
            if_unmodified_since=headers.get("if-unmodified-since"),
        ),
        range=headers.get("range"),
        if_range=headers.get("if-range"),
    )


def _joined(request: Request, name: str) -> str | None:
    """Return a list header, which may come in several lines."""
    return ", ".join(request.headers.getlist(name)) or None


def _headers_of(download: Download) -> dict[str, str]:
    artifact, part = download.file.artifact, download.part
    headers = {
        "content-type": _content_type(artifact.media_type),
        "content-length": str(artifact.byte_count if part is None else part.byte_count),
        "content-disposition": _content_disposition(artifact.file_name),
        "accept-ranges": "bytes",
        "repr-digest": _repr_digest(download.file),
        "x-content-type-options": "nosniff",
        **_validators(download.file),
    }
    if part is not None:
        headers["content-range"] = part.content_range(artifact.byte_count)
    return headers


def _repr_digest(file: ReportFile) -> str:
    digest = base64.b64encode(bytes.fromhex(file.artifact.sha256)).decode()
    return f"sha-256=:{digest}:"


def _validators(file: ReportFile) -> dict[str, str]:
    validators = file.validators
    return {
        "etag": validators.etag,
        "last-modified": validators.last_modified,
        "cache-control": "private",
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
