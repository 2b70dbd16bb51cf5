"""One report laid out: what stands on each page, as HTML; pages are made one by one."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cached_property
from html import escape

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
from report_worker.reports.pdf.fonts import FAMILIES, Fonts
from report_worker.reports.pdf.table import (
    BOLD,
    CELL_PADDING,
    LINE_HEIGHT,
    MARGIN,
    ROW_PADDING,
    Grid,
    choose_grid,
    heading_lines,
    measure,
    paginate,
    row_lines,
)
from report_worker.reports.pdf.text import one_line
from report_worker.reports.pdf.totals import TotalRow, chart_points, total_rows
from report_worker.reports.report import ReportSpec
from shared.catalogue import ColumnType

_FOOTER = 22.0
_RUNNING_HEAD = 24.0
_CHART = 168.0
_CHART_TITLE = 20.0
_META_SIZE = 9.0
_META_LINE = 13.5
_TITLE_LINE = 27.0
_TITLE_SIZE = 20.0
_GAP = 12.0
_SHOWN_CHARACTERS = 3

_STYLE = """
body {{ margin: 0; color: #1f2937; font-family: {families}; }}
.sheet {{ box-sizing: border-box; position: relative; width: {width:.2f}pt; height: {height:.2f}pt;
  overflow: hidden; padding: {margin}pt; }}
h1 {{ margin: 0; font-size: {title_size}pt; line-height: {title_line}pt; white-space: nowrap;
  color: #111827; }}
.meta {{ font-size: {meta_size}pt; line-height: {meta_line}pt; white-space: nowrap;
  color: #4b5563; }}
.meta b {{ color: #1f2937; }}
.notice {{ color: #92400e; }}
.head {{ box-sizing: border-box; border-bottom: 1.5pt solid #1f5fa8; overflow: hidden; }}
.gap {{ height: {gap}pt; }}
.running {{ height: {running}pt; font-size: 8pt; line-height: 12pt; color: #6b7280; }}
.chart {{ height: {chart}pt; overflow: hidden; }}
.chart p {{ margin: 0; font-size: 9.5pt; font-weight: bold; line-height: {chart_title}pt; }}
table {{ border-collapse: collapse; table-layout: fixed; width: 100%; font-size: {size}pt;
  line-height: {line_height}em; }}
td, th {{ padding: {pad_y:.3f}em {pad_x}em; text-align: left; vertical-align: top;
  white-space: nowrap; }}
th {{ vertical-align: bottom; color: #374151; background: #eef2f7;
  border-bottom: 0.75pt solid #9ca3af; }}
tr.odd {{ background: #f5f7fa; }}
tr.total {{ font-weight: bold; background: #eef2f7; }}
tr.total.first td {{ border-top: 1pt solid #6b7280; }}
.number {{ text-align: right; }}
.cell {{ display: block; unicode-bidi: isolate; }}
.empty {{ margin-top: 60pt; text-align: center; font-size: 12pt; color: #6b7280; }}
.footer {{ position: absolute; left: {margin}pt; right: {margin}pt; bottom: {footer_bottom}pt;
  font-size: 7.5pt; line-height: 10pt; color: #6b7280; white-space: nowrap; }}
.footer .page {{ position: absolute; right: 0; top: 0; }}
"""


class Document:
    """A report with its rows, broken into pages.

    `rows` holds the text that the data source wrote for each column, empty where NULL.
    """

    def __init__(self, spec: ReportSpec, rows: Sequence[Sequence[str]], fonts: Fonts) -> None:
        self._spec = spec
        self._type = spec.report_type
        self._columns = self._type.columns
        self._metrics = fonts.metrics
        self._points = self._chart_points(rows)
        self._decimals = [
            max((decimals_of(row[index]) for row in rows), default=0) if column.is_numeric else 0
            for index, column in enumerate(self._columns)
        ]
        self.row_count = len(rows)
        self._rows = [self._displayed(row) for row in rows]
        self._rows += [self._total_cells(total) for total in self._total_rows(rows)]
        self._grid = choose_grid(measure(self._columns, self._rows, self._metrics))
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
        sheet = self._grid.sheet
        return _STYLE.format(
            families=FAMILIES,
            width=sheet.width,
            height=sheet.height - 1,  # a hair less than the page, so that no second one begins
            margin=MARGIN,
            title_size=_TITLE_SIZE,
            title_line=_TITLE_LINE,
            meta_size=_META_SIZE,
            meta_line=_META_LINE,
            gap=_GAP,
            running=_RUNNING_HEAD,
            chart=_CHART,
            chart_title=_CHART_TITLE,
            size=sheet.font_size,
            line_height=LINE_HEIGHT,
            pad_y=ROW_PADDING / 2,
            pad_x=CELL_PADDING,
            footer_bottom=MARGIN - 14,
        )

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

    def _displayed(self, row: Sequence[str]) -> Sequence[str]:
        return [
            displayed(column, text, decimals)
            for column, text, decimals in zip(self._columns, row, self._decimals, strict=True)
        ]

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
        width = self._grid.sheet.inner_width / _META_SIZE
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
        heights = [
            sheet.row_height(
                max(map(len, row_lines(self._columns, row, self._grid, self._metrics)))
            )
            for row in self._rows
        ]
        heading = sheet.row_height(max(map(len, self._headings))) + 1
        room = sheet.height - 2 * MARGIN - _FOOTER - heading - 2
        chart = _CHART + _GAP if self._points else 0
        first = room - self._head_height - _GAP - chart
        return list(paginate(heights, first, room - _RUNNING_HEAD))

    @property
    def _head_height(self) -> float:
        return len(self._title_lines) * _TITLE_LINE + len(self._meta) * _META_LINE + 8

    @cached_property
    def _title_lines(self) -> list[str]:
        width = self._grid.sheet.inner_width / _TITLE_SIZE / BOLD
        return self._metrics.wrap(self.title, width, max_lines=3)

    @cached_property
    def _headings(self) -> list[list[str]]:
        return [
            heading_lines(column, width, self._metrics)
            for column, width in zip(self._columns, self._grid.widths, strict=True)
        ]

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
            height=_CHART - _CHART_TITLE,
            metrics=self._metrics,
        )
        return (
            f'<div class="chart"><p>{escape(chart.title)}</p>{drawing}</div><div class="gap"></div>'
        )

    def _running_head(self) -> str:
        dates = period(self._spec.request.date_range)
        return f'<div class="running">{escape(self.title)} · {escape(dates)}</div>'

    def _footer(self, index: int) -> str:
        return (
            f'<div class="footer">{escape(self._type.name)}'
            f'<span class="page">Page {index + 1:,} of {self.page_count:,}</span></div>'
        )

    def _table(self, rows: range) -> str:
        columns = "".join(f'<col style="width:{share:.4f}%">' for share in self._column_shares)
        headings = "".join(
            f"<th{css}>{'<br>'.join(map(escape, lines))}</th>"
            for css, lines in zip(self._cell_classes, self._headings, strict=True)
        )
        body = "".join(self._table_row(index) for index in rows)
        return f"<table><colgroup>{columns}</colgroup><tr>{headings}</tr>{body}</table>"

    @cached_property
    def _column_shares(self) -> list[float]:
        widths = [width + 2 * CELL_PADDING for width in self._grid.widths]
        return [100 * width / sum(widths) for width in widths]

    def _table_row(self, index: int) -> str:
        lines = row_lines(self._columns, self._rows[index], self._grid, self._metrics)
        height = self._grid.sheet.row_height(max(map(len, lines)))
        cells = "".join(
            f"<td{css}>{_cell(cell)}</td>"
            for css, cell in zip(self._cell_classes, lines, strict=True)
        )
        return f'<tr{self._row_class(index)} style="height:{height:.2f}pt">{cells}</tr>'

    def _row_class(self, index: int) -> str:
        if index >= self.row_count:
            return ' class="total first"' if index == self.row_count else ' class="total"'
        return ' class="odd"' if index % 2 else ""

    @cached_property
    def _cell_classes(self) -> list[str]:
        """The class of each column's cells: numbers stand at the right."""
        return [' class="number"' if column.is_numeric else "" for column in self._columns]


def _cell(lines: Sequence[str]) -> str:
    text = "<br>".join(map(escape, lines))
    if text.isascii():
        return text
    return f'<span class="cell" dir="auto">{text}</span>'
