"""The chart's scale and drawing."""

import xml.etree.ElementTree as ET
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_worker.reports.pdf.chart import compact, draw_chart, scale_for
from report_worker.reports.pdf.text import TextMetrics

METRICS = TextMetrics({})


def drawn(kind: str, points: list[tuple[str, Decimal]]) -> ET.Element:
    svg = draw_chart(kind, points, width=500, height=150, metrics=METRICS)
    return ET.fromstring(svg)  # noqa: S314 - our own drawing


@given(st.lists(st.floats(-1e15, 1e15, allow_subnormal=False), max_size=20))
def test_a_scale_holds_zero_and_every_value_in_few_even_steps(values: list[float]) -> None:
    scale = scale_for(values)
    tolerance = scale.step * 1e-6
    assert scale.low <= 0 <= scale.high
    assert all(scale.low - tolerance <= value <= scale.high + tolerance for value in values)
    assert 2 <= len(list(scale.ticks())) <= 14


def test_counts_have_whole_steps() -> None:
    assert list(scale_for([1.0, 2.0]).ticks()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (1500, "1,500"),
        (25_000, "25k"),
        (1_250_000, "1.25m"),
        (-2e9, "\N{MINUS SIGN}2bn"),
        (1.5e16, "15,000tn"),
        (0.25, "0.25"),
    ],
)
def test_axis_numbers_are_short(value: float, expected: str) -> None:
    assert compact(value) == expected


def test_bars_reach_from_zero_to_their_values() -> None:
    svg = drawn("bar", [("a", Decimal(10)), ("b", Decimal(-5)), ("c", Decimal("NaN"))])
    up, down = svg.findall("rect")
    assert float(up.attrib["height"]) == pytest.approx(2 * float(down.attrib["height"]), abs=0.05)
    assert float(up.attrib["y"]) < float(down.attrib["y"])


def test_more_bars_than_can_be_told_apart_become_a_line() -> None:
    svg = drawn("bar", [(str(index), Decimal(index)) for index in range(1000)])
    assert svg.find("rect") is None
    assert svg.find("polyline") is not None


def test_labels_never_touch_and_are_never_markup() -> None:
    svg = drawn("line", [(f"<b>&{index}", Decimal(1)) for index in range(100)])
    labels = [text for text in svg.findall("text") if (text.text or "").startswith("<b>")]
    places = [float(label.attrib["x"]) for label in labels]
    assert 1 < len(labels) < 100
    assert min(b - a for a, b in pairwise(places)) > 7.5 * 0.8 * 4


@pytest.mark.parametrize("kind", ["bar", "line"])
@pytest.mark.parametrize("points", [[], [("", Decimal(0))], [("only", Decimal(7))]])
def test_hardly_any_points_still_make_a_drawing(
    kind: str, points: list[tuple[str, Decimal]]
) -> None:
    assert drawn(kind, points).tag == "svg"
