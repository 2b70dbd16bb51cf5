"""Text as it stands in a cell: how wide it is, and where it breaks."""

import re
import unicodedata
from collections.abc import Mapping

ELLIPSIS = "…"

_TOLERANCE = 1e-6
_WIDE = 1.0
_OTHER = 0.8
_EMOJI = 1.4
_FIRST_EMOJI = 0x1F000
_BREAK = re.compile(r"(?<=\s)|(?<=[-/,;])(?=\w)|(?<=[\u2e80-\u9fff\uac00-\ud7a3\uff00-\uffef])")
_SPACES = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")


def one_line(text: str) -> str:
    """Fold line ends and tabs into spaces, and leave other control characters out."""
    if text.isprintable() and "  " not in text:  # as most text is, and this is told at once
        return text.strip()
    return _SPACES.sub(" ", _CONTROL.sub("", text)).strip()


def is_invisible(character: str) -> bool:
    """Whether a character has no glyph of its own: spaces, joiners, selectors, marks."""
    return unicodedata.category(character) in {"Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp"}


class TextMetrics:
    """Widths in em, never less than what is typeset, so that a line that fits here fits there."""

    def __init__(self, advances: Mapping[str, float]) -> None:
        self._widths = dict(advances)
        self.estimated: set[str] = set()
        """Characters met so far that the text face lacks."""

    def width(self, text: str) -> float:
        """The width of the text on one line."""
        widths = self._widths
        try:
            return sum([widths[character] for character in text])
        except KeyError:
            unknown = set(text) - widths.keys()
            widths.update((character, _estimate(character)) for character in unknown)
            self.estimated |= unknown
            return self.width(text)

    def wrap(self, text: str, limit: float, *, max_lines: int) -> list[str]:
        """Break into lines no wider than `limit`; what doesn't fit ends in an ellipsis."""
        limit += _TOLERANCE
        if self.width(text) <= limit:
            return [text]
        lines = self._lines(text, limit, max_lines + 1)
        if len(lines) > max_lines:
            last = self._fitting(lines[max_lines - 1], limit - self.width(ELLIPSIS))
            lines[max_lines - 1 :] = [last.rstrip() + ELLIPSIS]
        return lines

    def _lines(self, text: str, limit: float, max_lines: int) -> list[str]:
        lines, line = [], ""
        for word in _BREAK.split(text):
            if self.width((line + word).rstrip()) <= limit:
                line += word
                continue
            if line.strip():
                lines.append(line.rstrip())
            line = word
            while self.width(line.rstrip()) > limit and len(lines) < max_lines:
                head = self._fitting(line, limit) or line[0]
                lines.append(head)
                line = line[len(head) :]
            if len(lines) >= max_lines:
                return lines[:max_lines]
        return [*lines, line.rstrip()] if line.strip() else lines

    def _fitting(self, text: str, limit: float) -> str:
        """The longest beginning that fits."""
        taken = 0.0
        for index, character in enumerate(text):
            taken += self.width(character)
            if taken > limit:
                return text[:index]
        return text


def _estimate(character: str) -> float:
    if is_invisible(character):
        return 0.0
    if ord(character) >= _FIRST_EMOJI:
        return _EMOJI
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else _OTHER
