"""CSV, JSON and NDJSON: a server-side COPY, framed and handed on in batches, in constant memory."""

import asyncio
from collections.abc import AsyncIterator

from report_worker.reports.artifacts import ArtifactWriter
from report_worker.reports.cells import TextRow
from report_worker.reports.defusing import FormulaDefuser
from report_worker.reports.framing import CsvFraming, Framing, JsonArrayFraming, NdjsonFraming
from report_worker.reports.progress import ProgressReporter
from report_worker.reports.projection import csv_query, json_query, text_query
from report_worker.reports.source import Snapshot
from shared.catalogue import ReportType

_BATCH_BYTES = 96 * 1024
"""What is made of so much stays in the processor's caches, and below the size from which the C
library asks the kernel for new memory each time (128 KiB)."""
_SMALL_PIECE_BYTES = 64 * 1024
_REST_SECONDS = 0.001
_ROWS_AT_A_TIME = 2000
_UNQUOTED = "FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01'"
"""JSON text holds no control character, so that with these COPY never quotes or escapes."""


async def export_csv(
    report_type: ReportType, snapshot: Snapshot, writer: ArtifactWriter, progress: ProgressReporter
) -> int:
    """Write the report as RFC 4180 CSV with the columns' names at its head; return its rows."""
    defuser = FormulaDefuser(report_type.columns) if report_type.defuse_formulas else None
    batches = _Batches(writer, CsvFraming(defuser), progress)
    await snapshot.copy(
        csv_query(report_type, snapshot.query), "FORMAT csv, HEADER true", batches.add
    )
    return await batches.finish()


async def export_json(
    report_type: ReportType, snapshot: Snapshot, writer: ArtifactWriter, progress: ProgressReporter
) -> int:
    """Write the report as one JSON array of objects; return its rows."""
    return await _export_objects(report_type, snapshot, writer, progress, JsonArrayFraming())


async def export_ndjson(
    report_type: ReportType, snapshot: Snapshot, writer: ArtifactWriter, progress: ProgressReporter
) -> int:
    """Write the report as one object per line; return its rows."""
    return await _export_objects(report_type, snapshot, writer, progress, NdjsonFraming())


async def _export_objects(
    report_type: ReportType,
    snapshot: Snapshot,
    writer: ArtifactWriter,
    progress: ProgressReporter,
    framing: Framing,
) -> int:
    batches = _Batches(writer, framing, progress)
    await snapshot.copy(json_query(report_type, snapshot.query), _UNQUOTED, batches.add)
    return await batches.finish()


async def fetch_texts(
    report_type: ReportType, snapshot: Snapshot, progress: ProgressReporter, *, limit: int
) -> AsyncIterator[list[TextRow]]:
    """Fetch the report's rows as text, some at a time, and at most so many."""
    query = text_query(report_type, snapshot.query, limit=limit)
    cursor = await snapshot.cursor(query)
    fetched = 0
    while records := await cursor.fetch(_ROWS_AT_A_TIME):
        yield [tuple(record) for record in records]
        fetched += len(records)
        progress.rows(fetched)


class _Batches:
    """Gathers COPY's small pieces into batches, framed and written at once."""

    def __init__(
        self, writer: ArtifactWriter, framing: Framing, progress: ProgressReporter
    ) -> None:
        self._writer = writer
        self._framing = framing
        self._progress = progress
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._is_large = False

    async def add(self, piece: bytes) -> None:
        """Take a piece, and rest after a small one, but for the first batch's.

        Who is faster than the data source is woken for each 8 KiB that it sends, and what comes
        next gathers meanwhile in the socket's buffer.
        """
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._gathered >= _BATCH_BYTES:
            await self._flush()
            self._is_large = True
        if self._is_large and len(piece) < _SMALL_PIECE_BYTES:
            await asyncio.sleep(_REST_SECONDS)

    async def finish(self) -> int:
        """Write what is left; return the rows."""
        await self._flush()
        await self._writer.write(self._framing.finish())
        return self._framing.rows

    async def _flush(self) -> None:
        batch = self._framing.frame(b"".join(self._pieces))
        self._pieces.clear()
        self._gathered = 0
        await self._writer.write(batch)
        self._progress.rows(self._framing.rows)
