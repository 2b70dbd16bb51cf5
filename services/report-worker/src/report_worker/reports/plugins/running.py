"""Running a plugin: its report in, its rows out to the file."""

from contextlib import AsyncExitStack, aclosing
from typing import Any

from pydantic import TypeAdapter, ValidationError

from report_worker.plugins import PluginError, Progress, Report, ReportPlugin
from report_worker.plugins.loading import PluginUnusableError, load_plugin
from report_worker.reports.artifacts import ArtifactWriter
from report_worker.reports.errors import ErrorCode, ReportError
from report_worker.reports.plugins.source import SnapshotSource
from report_worker.reports.report import ReportSpec
from report_worker.reports.rows import write_rows
from report_worker.reports.sessions import SourceSessions


async def write_plugin_report(
    spec: ReportSpec,
    sources: SourceSessions,
    writer: ArtifactWriter,
    progress: Progress,
) -> int:
    """Let the report type's plugin make the rows, and write them; return how many there were.

    Raises `ReportError` for what the plugin raises as such and for what its sources do; any other
    error of the plugin's comes out as it is.
    """
    plugin = _plugin(spec)
    statement_limit = spec.report_type.limits.statement_timeout.total_seconds()
    async with AsyncExitStack() as sessions:
        report = Report(
            parameters=_parameters(plugin, spec),
            from_date=spec.request.date_range.from_date,
            to_date=spec.request.date_range.to_date,
            sources={
                name: SnapshotSource(name, sources, sessions, statement_limit=statement_limit)
                for name in spec.report_type.sources
            },
            progress=progress,
        )
        try:
            async with aclosing(plugin.rows(report)) as batches:
                return await write_rows(spec, batches, writer, progress)
        except PluginError as error:
            raise _judged(error) from error.__cause__ or error
        except ExceptionGroup as group:
            meant = _meant(group)
            raise _judged(meant) from meant.__cause__ or meant


def _judged(error: Exception) -> Exception:
    """What the worker makes of a plugin's error."""
    if isinstance(error, PluginError):
        return ReportError(error.code, error.message, transient=error.is_transient)
    return error


def _meant(group: ExceptionGroup[Exception]) -> Exception:
    """The first error that says what it means, of several that ended a task group.

    Want of memory goes first: the others may come of it.
    """
    told: ExceptionGroup[Exception] | None = group.subgroup(MemoryError)
    if told is None:
        told = group.subgroup((PluginError, ReportError))
    first: Exception = told or group
    while isinstance(first, ExceptionGroup) and told is not None:
        first = first.exceptions[0]
    return first


def _plugin(spec: ReportSpec) -> ReportPlugin[Any]:
    try:
        return load_plugin(spec.report_type.plugin or "")
    except PluginUnusableError as error:
        raise ReportError(
            ErrorCode.GENERATION_FAILED,
            f"The plugin of report type {spec.report_type.name} can't be used. Its operator finds"
            " why in the log.",
            transient=True,  # another worker may have it
        ) from error


def _parameters(plugin: ReportPlugin[Any], spec: ReportSpec) -> Any:
    values = spec.report_type.declared_parameters.with_defaults(spec.request.parameters)
    try:
        return TypeAdapter(plugin.parameters).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, ("parameters", *first["loc"])))
        raise ReportError(
            ErrorCode.REQUEST_REJECTED, f"{place}: {first['msg']}", transient=False
        ) from error
