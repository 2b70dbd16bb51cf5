"""Where a table's columns and rows come to lie: sheet, widths, lines, pages; nothing is drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from report_worker.reports.pdf.text import TextMetrics
from shared.catalogue import Column, ColumnType

MARGIN = 36.0
"""Points of white around each page."""

CELL_PADDING = 0.55
"""Space at each side of a cell, in em."""

LINE_HEIGHT = 1.35
ROW_PADDING = 0.55
"""Height of a line, and what a row adds to its lines, in em."""

BOLD = 1.12
"""How much wider bold text may be."""

MAX_LINES = 6
"""Lines that a cell may have; longer text ends in an ellipsis."""

_TEXT_AT_EASE = 28.0
_TEXT_AT_LEAST = 9.0


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page's size and its table's type size, in points."""

    width: float
    height: float
    font_size: float

    @property
    def inner_width(self) -> float:
        """What lies between the margins."""
        return self.width - 2 * MARGIN

    def row_height(self, lines: int) -> float:
        """The height of a row with so many lines."""
        return (lines * LINE_HEIGHT + ROW_PADDING) * self.font_size


_A4 = (595.28, 841.89)
_A3 = (841.89, 1190.55)
_AT_EASE = (Sheet(*_A4, 8.5), Sheet(*_A4[::-1], 8.5))
_DENSE = (Sheet(*_A4[::-1], 8), Sheet(*_A4[::-1], 7), Sheet(*_A3[::-1], 7), Sheet(*_A3[::-1], 6))


@dataclass(frozen=True, slots=True)
class Demand:
    """The width that a column's content needs, and the width at which it stands well; em."""

    least: float
    ease: float
    widest: float = 0.0
    """The widest content on one line: where there is room for it, nothing wraps."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A sheet, and the width of each column's text on it in em."""

    sheet: Sheet
    widths: tuple[float, ...]
    wraps: tuple[bool, ...]
    """Whether some of the column's content needs several lines."""


def measure(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], metrics: TextMetrics
) -> list[Demand]:
    """Say what each column needs: text can wrap, everything else can't."""
    return [
        # Values repeat: each is looked at once.
        _demand(column, max(map(metrics.width, {row[index] for row in rows}), default=0.0), metrics)
        for index, column in enumerate(columns)
    ]


def _demand(column: Column, widest: float, metrics: TextMetrics) -> Demand:
    heading = max(metrics.width(word) for word in column.title.split(" ")) * BOLD
    ease = max(widest, heading)
    if column.type is not ColumnType.TEXT:
        return Demand(ease, ease, widest)
    ease = min(ease, max(_TEXT_AT_EASE, heading))
    return Demand(min(ease, max(_TEXT_AT_LEAST, heading)), ease, widest)


def choose_grid(demands: Sequence[Demand]) -> Grid:
    """Take the first sheet on which nothing is cramped, else the first on which all fits at all.

    More columns than an A3 sheet holds get a sheet as wide as they need.
    """
    at_ease = sum(demand.ease for demand in demands)
    at_least = sum(demand.least for demand in demands)
    for sheets, needed in ((_AT_EASE, at_ease), (_DENSE, at_least)):
        for sheet in sheets:
            available = _available(sheet, len(demands))
            if needed <= available:
                return _grid(sheet, demands)
    last = _DENSE[-1]
    missing = (at_least - _available(last, len(demands))) * last.font_size
    wide = Sheet(last.width + missing + 1, last.height, last.font_size)
    return _grid(wide, demands)


def _grid(sheet: Sheet, demands: Sequence[Demand]) -> Grid:
    widths = _shared_out(demands, _available(sheet, len(demands)))
    wraps = (demand.widest > width for demand, width in zip(demands, widths, strict=True))
    return Grid(sheet, widths, tuple(wraps))


def _available(sheet: Sheet, columns: int) -> float:
    return sheet.inner_width / sheet.font_size - columns * 2 * CELL_PADDING


def _shared_out(demands: Sequence[Demand], available: float) -> tuple[float, ...]:
    """Give each what it needs, then what it wants, then of what is left in proportion."""
    wanted = sum(demand.ease - demand.least for demand in demands)
    spare = available - sum(demand.least for demand in demands)
    if spare < wanted:
        part = spare / wanted
        return tuple(demand.least + (demand.ease - demand.least) * part for demand in demands)
    growth = available / sum(demand.ease for demand in demands)
    return tuple(demand.ease * growth for demand in demands)


def heading_lines(column: Column, width: float, metrics: TextMetrics) -> list[str]:
    """Break a column's title, which stands in bold."""
    return metrics.wrap(column.title, width / BOLD, max_lines=MAX_LINES)


def cell_lines(text: str, column: int, grid: Grid, metrics: TextMetrics) -> list[str]:
    """Break a cell of a column, counted from 0; only text is ever given less than its width."""
    if not grid.wraps[column]:
        return [text]
    return metrics.wrap(text, grid.widths[column], max_lines=MAX_LINES)


def line_counts(rows: Sequence[Sequence[str]], grid: Grid, metrics: TextMetrics) -> list[int]:
    """Count the lines of each row, which are those of its highest cell."""
    counts = [1] * len(rows)
    for index, wraps in enumerate(grid.wraps):
        if wraps:
            texts = [row[index] for row in rows]
            lines = {text: len(cell_lines(text, index, grid, metrics)) for text in set(texts)}
            counts = [max(count, lines[text]) for count, text in zip(counts, texts, strict=True)]
    return counts


def paginate(heights: Sequence[float], first_room: float, room: float) -> Iterator[range]:
    """Put rows onto pages in order: each page takes what fits, and at least one row.

    The first page has its own room, since the title block and the chart stand on it. There is
    always a first page.
    """
    start, left = 0, first_room
    for index, height in enumerate(heights):
        if height > left and (index > start or start == 0):
            yield range(start, index)
            start, left = index, room
        left -= height
    yield range(start, len(heights))
