"""Where columns and rows come to lie."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_worker.reports.pdf.table import (
    CELL_PADDING,
    MAX_LINES,
    Demand,
    cell_lines,
    choose_grid,
    line_counts,
    measure,
    paginate,
)
from report_worker.reports.pdf.text import TextMetrics
from shared.catalogue import Column, ColumnType

METRICS = TextMetrics(dict.fromkeys("0123456789", 0.6))
DEMANDS = st.builds(
    lambda least, more: Demand(least, least + more), st.floats(1, 30), st.floats(0, 20)
)


def test_few_narrow_columns_stand_on_a_portrait_page() -> None:
    sheet = choose_grid([Demand(5, 5)] * 4).sheet
    assert sheet.width < sheet.height


def test_more_columns_turn_the_page_and_then_shrink_the_type() -> None:
    turned = choose_grid([Demand(9, 9)] * 8).sheet
    assert turned.width > turned.height
    assert choose_grid([Demand(9, 9)] * 10).sheet.font_size < turned.font_size


@given(st.lists(DEMANDS, min_size=1, max_size=200))
def test_every_column_gets_what_it_needs_and_the_sheet_is_full(demands: list[Demand]) -> None:
    grid = choose_grid(demands)
    assert all(
        width >= demand.least - 1e-6 for width, demand in zip(grid.widths, demands, strict=True)
    )
    used = sum(width + 2 * CELL_PADDING for width in grid.widths) * grid.sheet.font_size
    assert abs(used - grid.sheet.inner_width) < 1e-3


def test_only_text_may_be_narrower_than_its_content() -> None:
    columns = [
        Column(name="note", title="Note", type=ColumnType.TEXT),
        Column(name="amount", title="Amount", type=ColumnType.DECIMAL),
    ]
    note, amount = measure(columns, [("x" * 200, "1" * 50)], METRICS)
    assert note.least < note.ease < 200 * 0.8
    assert amount.least == amount.ease == pytest.approx(50 * 0.6)


@given(st.lists(st.tuples(st.text("word ", max_size=90), st.text("0123", max_size=40)), max_size=5))
def test_what_fits_is_one_line_and_only_text_that_does_not_is_broken(
    rows: list[tuple[str, str]],
) -> None:
    kinds = [ColumnType.TEXT, ColumnType.DECIMAL]
    columns = [Column(name=f"c{n}", title="C", type=kind) for n, kind in enumerate(kinds)]
    grid = choose_grid(measure(columns, rows, METRICS))
    for text, number in rows:
        lines = METRICS.wrap(text, grid.widths[0], max_lines=MAX_LINES)
        assert cell_lines(text, 0, grid, METRICS) == lines
        assert cell_lines(number, 1, grid, METRICS) == [number]
        assert line_counts([(text, number)], grid, METRICS) == [len(lines)]


@given(st.lists(st.floats(10, 90), max_size=80), st.floats(0, 400), st.floats(100, 400))
def test_rows_go_onto_pages_in_order_and_none_is_lost(
    heights: list[float], first_room: float, room: float
) -> None:
    pages = list(paginate(heights, first_room, room))
    assert [index for page in pages for index in page] == list(range(len(heights)))
    assert sum(heights[index] for index in pages[0]) <= first_room
    for page in pages[1:]:
        assert 0 < sum(heights[index] for index in page) <= room


def test_a_report_without_rows_has_one_page() -> None:
    assert list(paginate([], 100, 100)) == [range(0)]
