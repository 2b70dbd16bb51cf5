"""Writing rows that a program gives, in any format: the files that a query's rows would become."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Final, TypeVar

from report_worker.plugins import Progress
from report_worker.reports.artifacts import ArtifactWriter
from report_worker.reports.cells import Row, TextRow, TextRows
from report_worker.reports.encoding import CsvEncoder, Encoder, JsonEncoder
from report_worker.reports.pdf import write_pdf
from report_worker.reports.report import ReportSpec
from report_worker.reports.xlsx import XlsxEncoder
from shared.report_request import ReportFormat

ROWS_AT_A_TIME: Final = 2000

T = TypeVar("T")


async def write_rows(
    spec: ReportSpec,
    batches: AsyncIterable[Sequence[Row]],
    writer: ArtifactWriter,
    progress: Progress,
) -> int:
    """Write the rows in the format that was asked for; return how many there were.

    Batches may have any size; rows are taken as they come, and kept in memory no longer than it
    takes to write them, except for a PDF's, which the report type limits. Raises `ReportError` for
    values that aren't as the columns are declared and for more than the format takes, and whatever
    the batches raise.
    """
    return await write_texts(spec, _texts(spec, batches), writer, progress)


async def write_texts(
    spec: ReportSpec,
    batches: AsyncIterable[Sequence[TextRow]],
    writer: ArtifactWriter,
    progress: Progress,
) -> int:
    """Write rows that are text already, as the data source writes it.

    Whoever makes the rows counts them; what comes after the last of them is told from here.
    """
    if spec.request.format is ReportFormat.PDF:
        return await write_pdf(spec, batches, writer, progress)
    encoder = _encoder(spec)
    count = 0
    async for rows in _regrouped(batches):
        # In a thread, so that a cancellation is heard meanwhile.
        await writer.write(await asyncio.to_thread(encoder.encode, rows))
        count += len(rows)
    await writer.write(await asyncio.to_thread(encoder.finish))
    return count


def _encoder(spec: ReportSpec) -> Encoder:
    match spec.request.format:
        case ReportFormat.CSV:
            return CsvEncoder(spec.report_type)
        case ReportFormat.JSON:
            return JsonEncoder.array(spec.report_type)
        case ReportFormat.NDJSON:
            return JsonEncoder.lines(spec.report_type)
        case ReportFormat.XLSX:
            return XlsxEncoder(spec)
        case ReportFormat.PDF:  # pragma: no cover - its pages aren't a matter of some rows
            raise ValueError("a PDF is typeset from all of its rows")


async def _texts(
    spec: ReportSpec, batches: AsyncIterable[Sequence[Row]]
) -> AsyncIterator[Sequence[TextRow]]:
    texts = TextRows(spec.report_type)
    async for rows in _regrouped(batches):
        yield await asyncio.to_thread(texts.of, rows)


async def _regrouped(batches: AsyncIterable[Sequence[T]]) -> AsyncIterator[Sequence[T]]:
    """Cut large batches, and join small ones: each costs a thread's turn and a write."""
    gathered: list[T] = []
    async for batch in batches:
        gathered += batch
        start = 0
        while len(gathered) - start >= ROWS_AT_A_TIME:
            yield gathered[start : start + ROWS_AT_A_TIME]
            start += ROWS_AT_A_TIME
        del gathered[:start]
    if gathered:
        yield gathered
