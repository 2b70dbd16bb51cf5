"""Turning one admitted job into one file in the artifact store."""

import structlog
from obstore.store import ObjectStore

from report_worker.reports.artifacts import ArtifactWriter, artifact_writer
from report_worker.reports.errors import ReportError
from report_worker.reports.estimate import QUERY_PHASE, estimating
from report_worker.reports.export import (
    export_csv,
    export_json,
    export_ndjson,
    fetch_texts,
)
from report_worker.reports.plugins import write_plugin_report
from report_worker.reports.progress import ProgressReporter
from report_worker.reports.report import MEDIA_TYPES, GeneratedReport, ReportSpec, TimeLimits
from report_worker.reports.rows import write_texts
from report_worker.reports.sessions import SourceSessions
from report_worker.reports.source import Snapshot, open_snapshot
from report_worker.reports.xlsx import MOST_ROWS
from shared.report_request import ReportFormat

DEFAULT_TIME_LIMITS = TimeLimits()

_UNTIL_TYPESET = 30
"""Percent of a PDF's time that the query takes, about."""

log = structlog.get_logger()


async def generate(
    spec: ReportSpec,
    *,
    sources: SourceSessions,
    store: ObjectStore,
    path: str,
    progress: ProgressReporter,
    time_limits: TimeLimits = DEFAULT_TIME_LIMITS,
) -> GeneratedReport:
    """Make the report from its sources and store it at `path`.

    The last part of `path` is the file's name.

    Raises `ReportError` for whatever goes wrong outside; what caused it goes to the log. On an
    error and on cancellation the source's connection is dropped and no object is left at `path`.
    """
    media_type = MEDIA_TYPES[spec.request.format]
    try:
        async with artifact_writer(
            store, path, media_type=media_type, time_limit=time_limits.store
        ) as writer:
            rows = await _write(spec, sources, writer, progress)
    except ReportError as error:
        log.warning(
            "report_failed",
            path=path,
            report_type=spec.report_type.name,
            code=error.code,
            transient=error.transient,
            cause=error.reason,
        )
        raise
    return GeneratedReport(
        path=path,
        file_name=path.rpartition("/")[2],
        media_type=media_type,
        rows=rows,
        bytes=writer.bytes,
        sha256=writer.sha256,
    )


async def _write(
    spec: ReportSpec,
    sources: SourceSessions,
    writer: ArtifactWriter,
    progress: ProgressReporter,
) -> int:
    if spec.report_type.source is None:
        return await write_plugin_report(spec, sources, writer, progress)
    is_typeset = spec.request.format is ReportFormat.PDF
    progress.phase(QUERY_PHASE, until=_UNTIL_TYPESET if is_typeset else 99)
    async with open_snapshot(spec, sources) as snapshot:
        with estimating(sources, spec.report_type.source, snapshot.query, progress):
            return await _export(spec, snapshot, writer, progress)


async def _export(
    spec: ReportSpec, snapshot: Snapshot, writer: ArtifactWriter, progress: ProgressReporter
) -> int:
    report_type = spec.report_type
    match spec.request.format:
        case ReportFormat.CSV:
            return await export_csv(report_type, snapshot, writer, progress)
        case ReportFormat.JSON:
            return await export_json(report_type, snapshot, writer, progress)
        case ReportFormat.NDJSON:
            return await export_ndjson(report_type, snapshot, writer, progress)
        case ReportFormat.PDF:
            limit = report_type.limits.max_pdf_rows
        case ReportFormat.XLSX:
            limit = MOST_ROWS
    # One more than it may have tells that there are too many.
    rows = fetch_texts(report_type, snapshot, progress, limit=limit + 1)
    return await write_texts(spec, rows, writer, progress)
