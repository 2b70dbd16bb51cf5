"""Writing rows that a program gives, in any format: the files that a query's rows would become."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Final

from report_worker.reports.artifacts import ArtifactWriter
from report_worker.reports.cells import Row, TextRows
from report_worker.reports.encoding import CsvEncoder, Encoder, JsonEncoder
from report_worker.reports.report import ReportSpec
from shared.catalogue import ReportType
from shared.report_request import ReportFormat

_ROWS_AT_A_TIME: Final = 2000


async def write_rows(
    spec: ReportSpec, batches: AsyncIterable[Sequence[Row]], writer: ArtifactWriter
) -> int:
    """Write the rows in the format that was asked for; return how many there were.

    Batches may have any size; rows are taken as they come, and kept in memory no longer than it
    takes to write them. Raises `ReportError` for values that aren't as the columns are declared,
    and whatever the batches raise.
    """
    encoder = _encoder(spec.report_type, spec.request.format)
    texts = TextRows(spec.report_type)
    count = 0
    async for rows in _regrouped(batches):
        # In a thread, so that a cancellation is heard meanwhile.
        await writer.write(await asyncio.to_thread(_encoded, encoder, texts, rows))
        count += len(rows)
    await writer.write(encoder.finish())
    return count


def _encoder(report_type: ReportType, file_format: ReportFormat) -> Encoder:
    match file_format:
        case ReportFormat.CSV:
            return CsvEncoder(report_type)
        case ReportFormat.JSON:
            return JsonEncoder.array(report_type)
        case ReportFormat.NDJSON:
            return JsonEncoder.lines(report_type)
        case ReportFormat.PDF:
            raise NotImplementedError


def _encoded(encoder: Encoder, texts: TextRows, rows: Sequence[Row]) -> bytes:
    return encoder.encode(texts.of(rows))


async def _regrouped(batches: AsyncIterable[Sequence[Row]]) -> AsyncIterator[Sequence[Row]]:
    """Cut large batches, and join small ones: each costs a thread's turn and a write."""
    gathered: list[Row] = []
    async for batch in batches:
        gathered += batch
        while len(gathered) >= _ROWS_AT_A_TIME:
            yield gathered[:_ROWS_AT_A_TIME]
            del gathered[:_ROWS_AT_A_TIME]
    if gathered:
        yield gathered
