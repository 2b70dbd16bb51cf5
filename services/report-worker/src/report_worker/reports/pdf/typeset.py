"""Typesetting a laid out report: page by page onto one PDF, in threads beside the event loop."""

import asyncio
import io
from collections import deque
from collections.abc import AsyncIterable, Sequence
from itertools import zip_longest

import plutoprint

from report_worker.plugins import Progress
from report_worker.reports.artifacts import ArtifactWriter
from report_worker.reports.cells import TextRow
from report_worker.reports.errors import too_many_rows
from report_worker.reports.pdf.document import Document
from report_worker.reports.pdf.fonts import install_fonts
from report_worker.reports.report import ReportSpec
from shared.report_request import ReportFormat

_PAGES_AT_A_TIME = 8
_SET_AHEAD = 2
"""Groups of pages that are set while another one is drawn."""


async def write_pdf(
    spec: ReportSpec,
    batches: AsyncIterable[Sequence[TextRow]],
    writer: ArtifactWriter,
    progress: Progress,
) -> int:
    """Write the report as PDF; return its rows.

    Rows are held in memory, which is why the report type limits them; pages aren't.
    """
    rows = await _gathered(spec, batches)
    progress.phase("typeset", rows_total=len(rows))
    document = await asyncio.to_thread(_lay_out, spec, rows)
    del rows
    press = _Press(document, spec)
    groups = _groups(document.page_count)

    def set_pages(pages: range) -> "asyncio.Task[list[plutoprint.Book]]":
        return asyncio.create_task(asyncio.to_thread(press.set_pages, pages))

    # While some pages are drawn the next ones are set, which takes half as long again. So more than
    # one thread sets pages, else drawing would wait.
    setting = deque(map(set_pages, groups[:_SET_AHEAD]))
    try:
        for pages, following in zip_longest(groups, groups[_SET_AHEAD:], fillvalue=range(0)):
            books = await setting.popleft()
            setting.append(set_pages(following))
            await writer.write(await asyncio.to_thread(press.draw, books))
            progress.rows(document.rows_until(pages.stop))
    finally:
        for task in setting:
            task.cancel()
    await writer.write(await asyncio.to_thread(press.finish))
    return document.row_count


def _groups(pages: int) -> list[range]:
    starts = range(0, pages, _PAGES_AT_A_TIME)
    return [range(start, min(start + _PAGES_AT_A_TIME, pages)) for start in starts]


async def _gathered(
    spec: ReportSpec, batches: AsyncIterable[Sequence[TextRow]]
) -> list[Sequence[str]]:
    """Take all rows, empty where NULL, or no more than are typeset."""
    limit = spec.report_type.limits.max_pdf_rows
    rows: list[Sequence[str]] = []
    async for batch in batches:
        if len(rows) + len(batch) > limit:
            raise too_many_rows(limit, ReportFormat.PDF, spec.report_type.formats)
        rows += [[text or "" for text in row] for row in batch]
    return rows


def _lay_out(spec: ReportSpec, rows: Sequence[Sequence[str]]) -> Document:
    return Document(spec, rows, install_fonts())


class _Press:
    """Prints a document's pages onto one PDF and hands over its bytes as they come.

    Threads may set pages while another draws those that are set. Each page is a document of its
    own to the typesetter; fonts are all that they share, and those it guards.
    """

    def __init__(self, document: Document, spec: ReportSpec) -> None:
        self._document = document
        self._output = io.BytesIO()
        sheet = document.grid.sheet
        self._size = plutoprint.PageSize(sheet.width, sheet.height)
        self._canvas = plutoprint.PDFCanvas.create_for_stream(self._output, self._size)
        self._canvas.set_metadata(plutoprint.PDF_METADATA_TITLE, document.title)
        self._canvas.set_metadata(plutoprint.PDF_METADATA_CREATOR, "report-jobs")
        self._canvas.set_metadata(
            plutoprint.PDF_METADATA_CREATION_DATE, spec.generated_at.isoformat(timespec="seconds")
        )

    def set_pages(self, pages: range) -> list[plutoprint.Book]:
        """Lay out some pages, each as a book of one page."""
        return [self._set(index) for index in pages]

    def draw(self, books: Sequence[plutoprint.Book]) -> bytes:
        """Draw pages that are set; give the bytes that are finished."""
        for book in books:
            self._canvas.save_state()
            self._canvas.scale(plutoprint.UNITS_PX, plutoprint.UNITS_PX)
            book.render_page(self._canvas, 0)
            self._canvas.restore_state()
            self._canvas.show_page()
        return self._taken()

    def finish(self) -> bytes:
        """Close the PDF; give its last bytes, fonts among them."""
        self._canvas.finish()
        return self._taken()

    def _set(self, index: int) -> plutoprint.Book:
        book = plutoprint.Book(self._size, plutoprint.PAGE_MARGINS_NONE)
        book.custom_resource_fetcher = _NothingElse()
        book.load_html(self._document.page(index))
        book.get_page_count()  # to be known, it has to be laid out
        return book

    def _taken(self) -> bytes:
        finished = self._output.getvalue()
        self._output.seek(0)
        self._output.truncate()
        return finished


class _NothingElse(plutoprint.ResourceFetcher):
    """Pages are complete in themselves; nothing is fetched from files or the network."""

    def fetch_url(self, url: str) -> plutoprint.ResourceData:
        raise PermissionError(f"a report's page asked for {url}")
