"""The chart at the head of a PDF, drawn as SVG: bars or a line over labels, with a quiet scale."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from report_worker.reports.pdf.text import ELLIPSIS, TextMetrics

ACCENT = "#1f5fa8"

Point = tuple[str, Decimal]

_INK, _MUTED, _RULE = "#374151", "#6b7280", "#e5e7eb"
_FONT_SIZE = 7.5
_TOP, _BOTTOM, _RIGHT = 12.0, 18.0, 4.0
_INTERVALS = 5
_MOST_BARS = 400
_MOST_VALUE_LABELS = 14
_LONGEST_LABEL = 16.0
_WIDEST_BAR = 46.0
_UNITS = ((1e12, "tn"), (1e9, "bn"), (1e6, "m"), (1e4, "k"))


@dataclass(frozen=True, slots=True)
class Scale:
    """A vertical axis: evenly spaced round values from `low` to `high`."""

    low: float
    high: float
    step: float

    def ticks(self) -> Iterator[float]:
        """Values that get a line."""
        count = round((self.high - self.low) / self.step)
        return (self.low + index * self.step for index in range(count + 1))


def scale_for(values: Sequence[float]) -> Scale:
    """Choose round steps of 1, 2, 2.5 or 5 times a power of ten; zero is always on the axis."""
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    rough = (high - low or 1.0) / _INTERVALS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= rough * 0.999)
    if all(value.is_integer() for value in values):
        step = max(1.0, math.ceil(step))
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step or step, step)


def compact(value: float) -> str:
    """Write a number of the scale shortly: 1,500 as it is, 25000 as 25k."""
    for size, unit in _UNITS:
        if abs(value) >= size:
            scaled = value / (1000.0 if unit == "k" else size)
            return _trimmed(f"{scaled:,.2f}") + unit
    return _trimmed(f"{value:,.10f}")


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}")


def draw_chart(
    kind: str, points: Sequence[Point], *, width: float, height: float, metrics: TextMetrics
) -> str:
    """Draw points in their order; sizes in points. Values that aren't finite are left out."""
    finite = [(label, float(value)) for label, value in points if value.is_finite()]
    frame = _Frame.around([value for _, value in finite], width, height, metrics)
    marks = _bars if kind == "bar" and len(finite) <= _MOST_BARS else _line
    parts = [*_grid(frame), *marks(frame, finite), *_labels(frame, finite, metrics)]
    return (
        f'<svg width="{width:.1f}pt" height="{height:.1f}pt" viewBox="0 0 {width:.1f} {height:.1f}"'
        f' font-size="{_FONT_SIZE}">{"".join(parts)}</svg>'
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plot's rectangle and its scale."""

    left: float
    top: float
    right: float
    bottom: float
    scale: Scale

    @classmethod
    def around(
        cls, values: Sequence[float], width: float, height: float, metrics: TextMetrics
    ) -> "_Frame":
        scale = scale_for(values)
        widest = max(metrics.width(compact(tick)) for tick in scale.ticks())
        left = widest * _FONT_SIZE + 6
        return cls(left, _TOP, width - _RIGHT, height - _BOTTOM, scale)

    def y(self, value: float) -> float:
        part = (value - self.scale.low) / (self.scale.high - self.scale.low)
        return self.bottom - part * (self.bottom - self.top)

    def slot(self, count: int) -> float:
        return (self.right - self.left) / max(1, count)


def _grid(frame: _Frame) -> Iterator[str]:
    for tick in frame.scale.ticks():
        y = frame.y(tick)
        stroke = _MUTED if tick == 0 else _RULE
        yield (
            f'<line x1="{frame.left:.2f}" y1="{y:.2f}" x2="{frame.right:.2f}" y2="{y:.2f}"'
            f' stroke="{stroke}" stroke-width="0.6"/>'
        )
        yield _text(frame.left - 5, y + _FONT_SIZE * 0.35, compact(tick), "end", _MUTED)


def _bars(frame: _Frame, points: Sequence[tuple[str, float]]) -> Iterator[str]:
    slot = frame.slot(len(points))
    width = min(slot * 0.72, _WIDEST_BAR)
    for index, (_, value) in enumerate(points):
        middle = frame.left + (index + 0.5) * slot
        top, foot = sorted((frame.y(value), frame.y(0)))
        yield (
            f'<rect x="{middle - width / 2:.2f}" y="{top:.2f}" width="{width:.2f}"'
            f' height="{foot - top:.2f}" fill="{ACCENT}"/>'
        )
        if len(points) <= _MOST_VALUE_LABELS:
            y = top - 3 if value >= 0 else foot + _FONT_SIZE + 1
            yield _text(middle, y, compact(value), "middle", _INK)


def _line(frame: _Frame, points: Sequence[tuple[str, float]]) -> Iterator[str]:
    slot = frame.slot(len(points))
    places = [
        (frame.left + (index + 0.5) * slot, frame.y(value))
        for index, (_, value) in enumerate(points)
    ]
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
    yield (
        f'<polyline points="{path}" fill="none" stroke="{ACCENT}" stroke-width="1.4"'
        ' stroke-linejoin="round"/>'
    )
    if len(points) <= _MOST_VALUE_LABELS * 3:
        for x, y in places:
            yield f'<circle cx="{x:.2f}" cy="{y:.2f}" r="1.9" fill="{ACCENT}"/>'


def _labels(
    frame: _Frame, points: Sequence[tuple[str, float]], metrics: TextMetrics
) -> Iterator[str]:
    """Write every label, or every second, third ... when they would touch."""
    slot = frame.slot(len(points)) / _FONT_SIZE
    texts = [_shortened(label or "–", metrics) for label, _ in points]  # noqa: RUF001 - a dash
    widest = max((metrics.width(text) for text in texts), default=0.0) + 1.2
    step = max(1, math.ceil(widest / slot))
    for index in range(0, len(texts), step):
        x = frame.left + (index + 0.5) * slot * _FONT_SIZE
        half = metrics.width(texts[index]) * _FONT_SIZE / 2
        x = min(max(x, half), frame.right - half)
        yield _text(x, frame.bottom + _FONT_SIZE + 5, texts[index], "middle", _MUTED)


def _shortened(text: str, metrics: TextMetrics) -> str:
    while metrics.width(text) > _LONGEST_LABEL:
        text = text.removesuffix(ELLIPSIS)[:-1].rstrip() + ELLIPSIS
    return text


def _text(x: float, y: float, text: str, anchor: str, fill: str) -> str:
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'
    )
