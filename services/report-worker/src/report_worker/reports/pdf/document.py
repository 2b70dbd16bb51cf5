"""One report laid out: what stands on each page, as HTML; pages are made one by one."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from html import escape
from itertools import count

from report_worker.reports.pdf.chart import draw_chart
from report_worker.reports.pdf.figures import (
    decimals_of,
    displayed,
    grouped,
    long_date,
    period,
    plain,
    short_dates,
)
from report_worker.reports.pdf.fonts import Fonts
from report_worker.reports.pdf.style import (
    CHART,
    CHART_TITLE,
    GAP,
    META_LINE,
    META_SIZE,
    RUNNING_HEAD,
    TITLE_LINE,
    TITLE_SIZE,
    stylesheet,
)
from report_worker.reports.pdf.table import (
    BOLD,
    MARGIN,
    Grid,
    cell_lines,
    choose_grid,
    heading_lines,
    line_counts,
    measure,
    paginate,
)
from report_worker.reports.pdf.text import TextMetrics, one_line
from report_worker.reports.pdf.totals import TotalRow, chart_points, total_rows
from report_worker.reports.report import ReportSpec
from shared.catalogue import ColumnType

_FOOTER = 22.0
_HEADING_RULE = 1.0
_SHOWN_CHARACTERS = 3
_REMEMBERED_CELLS = 4096


class Document:
    """A report with its rows, broken into pages.

    `rows` holds the text that the data source wrote for each column, empty where NULL.
    """

    def __init__(self, spec: ReportSpec, rows: Sequence[Sequence[str]], fonts: Fonts) -> None:
        self._spec = spec
        self._type = spec.report_type
        self._columns = self._type.columns
        self._metrics = TextMetrics(fonts.advances)
        self._points = self._chart_points(rows)
        self._decimals = [
            max((decimals_of(row[index]) for row in rows), default=0) if column.is_numeric else 0
            for index, column in enumerate(self._columns)
        ]
        self.row_count = len(rows)
        self._rows = self._displayed(rows)
        self._rows += [self._total_cells(total) for total in self._total_rows(rows)]
        self._grid = choose_grid(measure(self._columns, self._rows, self._metrics))
        self._line_counts = line_counts(self._rows, self._grid, self._metrics)
        written_cell = partial(_written_cell, self._grid, self._metrics)
        self._cell = lru_cache(_REMEMBERED_CELLS)(written_cell)
        self._meta = [*self._meta_lines(), *self._notices(fonts)]
        self._pages = self._paginated()

    @property
    def title(self) -> str:
        """The report type's title."""
        return self._type.title

    @property
    def grid(self) -> Grid:
        """Sheet and columns."""
        return self._grid

    @property
    def page_count(self) -> int:
        """Pages, at least one."""
        return len(self._pages)

    def rows_until(self, page: int) -> int:
        """Count the report's rows on the pages before this one."""
        return min(self._pages[page - 1].stop, self.row_count)

    def page(self, index: int) -> str:
        """Write the HTML of one page, counted from 0."""
        rows = self._pages[index]
        head = self._first_head() if index == 0 else self._running_head()
        if self.row_count:
            body = self._table(rows)
        else:
            body = '<p class="empty">There is nothing to report in this period.</p>'
        return (
            f'<html lang="en"><head><style>{self._style}</style></head><body><div class="sheet">'
            f"{head}{body}{self._footer(index)}</div></body></html>"
        )

    @cached_property
    def _style(self) -> str:
        return stylesheet(self._columns, self._grid)

    def _chart_points(self, rows: Sequence[Sequence[str]]) -> list[tuple[str, Decimal]]:
        chart = self._type.pdf.chart
        if chart is None or not rows:
            return []
        label = next(column for column in self._columns if column.name == chart.label)
        points = chart_points(chart, self._columns, rows)
        if label.type is ColumnType.DATE:
            return short_dates(points)
        return [(displayed(label, text), value) for text, value in points]

    def _total_rows(self, rows: Sequence[Sequence[str]]) -> list[TotalRow]:
        totals = self._type.pdf.totals
        return total_rows(totals, self._columns, rows) if totals is not None and rows else []

    def _displayed(self, rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        """Go column by column: values repeat, and each is looked at once."""
        columns: list[list[str]] = []
        for index, (column, decimals) in enumerate(zip(self._columns, self._decimals, strict=True)):
            texts = [row[index] for row in rows]
            shown = {text: displayed(column, text, decimals) for text in set(texts)}
            columns.append([shown[text] for text in texts])
        return list(zip(*columns, strict=True))

    def _total_cells(self, total: TotalRow) -> Sequence[str]:
        """The sums under their columns; the first column, which is never summed, says what."""
        cells = [
            grouped(plain(total.sums[column.name]), decimals) if column.name in total.sums else ""
            for column, decimals in zip(self._columns, self._decimals, strict=True)
        ]
        cells[0] = "Total"
        totals = self._type.pdf.totals
        if totals is not None and totals.by is not None:
            by = [column.name for column in self._columns].index(totals.by)
            if by == 0:
                cells[0] = f"Total {total.group}"
            else:
                cells[by] = displayed(self._columns[by], total.group or "")
        return cells

    def _meta_lines(self) -> list[str]:
        width = self._grid.sheet.inner_width / META_SIZE
        about = one_line(self._type.description)
        lines = [escape(line) for line in self._metrics.wrap(about, width, max_lines=4) if line]
        request = self._spec.request
        if request.parameters:
            given = ", ".join(f"{name} {value}" for name, value in request.parameters.items())
            wrapped = self._metrics.wrap(one_line(f"Only {given}"), width, max_lines=3)
            lines += [escape(line) for line in wrapped]
        at = self._spec.generated_at
        rows = "1 row" if self.row_count == 1 else f"{self.row_count:,} rows"
        lines.append(
            f"<b>{escape(period(request.date_range))}</b> · {rows} · made"
            f" {long_date(at.date())}, {at:%H:%M} UTC"
        )
        return lines

    def _notices(self, fonts: Fonts) -> Iterator[str]:
        """What a reader has to know about the text's looks."""
        missing = sorted(fonts.missing(self._metrics.estimated))
        if missing:
            named = ", ".join(f"U+{ord(one):04X}" for one in missing[:_SHOWN_CHARACTERS])
            more = (
                ""
                if len(missing) <= _SHOWN_CHARACTERS
                else f" and {len(missing) - _SHOWN_CHARACTERS} more"
            )
            yield f'<span class="notice">Shown as boxes, for want of a font: {named}{more}</span>'

    def _paginated(self) -> list[range]:
        sheet = self._grid.sheet
        heights = [sheet.row_height(lines) for lines in self._line_counts]
        room = sheet.height - 2 * MARGIN - _FOOTER - self._heading_height - 2
        chart = CHART + GAP if self._points else 0
        first = room - self._head_height - GAP - chart
        return list(paginate(heights, first, room - RUNNING_HEAD))

    @property
    def _head_height(self) -> float:
        return len(self._title_lines) * TITLE_LINE + len(self._meta) * META_LINE + 8

    @cached_property
    def _title_lines(self) -> list[str]:
        width = self._grid.sheet.inner_width / TITLE_SIZE / BOLD
        return self._metrics.wrap(self.title, width, max_lines=3)

    @cached_property
    def _headings(self) -> list[list[str]]:
        return [
            heading_lines(column, width, self._metrics)
            for column, width in zip(self._columns, self._grid.widths, strict=True)
        ]

    @property
    def _heading_height(self) -> float:
        return self._grid.sheet.row_height(max(map(len, self._headings))) + _HEADING_RULE

    def _first_head(self) -> str:
        title = "<br>".join(map(escape, self._title_lines))
        meta = "<br>".join(self._meta)
        return (
            f'<div class="head" style="height:{self._head_height:.1f}pt"><h1>{title}</h1>'
            f'<div class="meta">{meta}</div></div><div class="gap"></div>{self._chart()}'
        )

    def _chart(self) -> str:
        chart = self._type.pdf.chart
        if chart is None or not self._points:
            return ""
        drawing = draw_chart(
            chart.kind,
            self._points,
            width=self._grid.sheet.inner_width,
            height=CHART - CHART_TITLE,
            metrics=self._metrics,
        )
        title = f"<h2>{escape(chart.title)}</h2>"
        return f'<div class="chart">{title}{drawing}</div><div class="gap"></div>'

    def _running_head(self) -> str:
        dates = period(self._spec.request.date_range)
        return f'<div class="running">{escape(self.title)} · {escape(dates)}</div>'

    def _footer(self, index: int) -> str:
        return (
            f'<div class="footer">{escape(self._type.name)}'
            f'<span class="page">Page {index + 1:,} of {self.page_count:,}</span></div>'
        )

    def _table(self, rows: range) -> str:
        """Place the cells one by one: where they lie is known, and a table would find it again."""
        height = f"height:{self._heading_height:.2f}pt"
        cells = "".join(map(_cell, count(), self._headings))
        headings = f'<div class="row heading" style="{height}">{cells}</div>'
        return f'<div class="table">{headings}{"".join(map(self._row, rows))}</div>'

    def _row(self, index: int) -> str:
        cells = "".join(map(self._cell, count(), self._rows[index]))
        return f'<div class="row h{self._line_counts[index]}{self._row_class(index)}">{cells}</div>'

    def _row_class(self, index: int) -> str:
        if index >= self.row_count:
            return " total first" if index == self.row_count else " total"
        return " odd" if index % 2 else ""


def _written_cell(grid: Grid, metrics: TextMetrics, column: int, text: str) -> str:
    return _cell(column, cell_lines(text, column, grid, metrics))


def _cell(column: int, lines: Sequence[str]) -> str:
    text = "<br>".join(map(escape, lines))
    if not text:
        return ""
    direction = "" if text.isascii() else ' dir="auto"'
    return f'<p class="c{column}"{direction}>{text}</p>'
