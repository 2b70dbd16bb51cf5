"""Measuring and breaking text."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from report_worker.reports.pdf.text import ELLIPSIS, TextMetrics, one_line

METRICS = TextMetrics(dict.fromkeys(map(chr, range(32, 127)), 0.5) | {ELLIPSIS: 1.0})


def test_words_break_at_spaces_and_long_words_anywhere() -> None:
    assert METRICS.wrap("one two three", 4, max_lines=5) == ["one two", "three"]
    assert METRICS.wrap("abcdefghij", 2, max_lines=5) == ["abcd", "efgh", "ij"]
    assert METRICS.wrap("漢字漢字漢", 2, max_lines=5) == ["漢字", "漢字", "漢"]


def test_what_does_not_fit_ends_in_an_ellipsis() -> None:
    assert METRICS.wrap("one two three four", 4, max_lines=1) == ["one tw" + ELLIPSIS]


def test_empty_text_is_one_empty_line() -> None:
    assert METRICS.wrap("", 4, max_lines=3) == [""]


@given(st.text(max_size=60), st.floats(2.5, 20), st.integers(1, 6))
def test_no_line_is_too_wide_and_nothing_is_lost_without_a_sign(
    text: str, limit: float, max_lines: int
) -> None:
    line = one_line(text)
    lines = METRICS.wrap(line, limit, max_lines=max_lines)
    assert 1 <= len(lines) <= max_lines
    assert all(METRICS.width(part) <= limit + 1e-5 for part in lines)
    if not lines[-1].endswith(ELLIPSIS):
        assert "".join(lines).replace(" ", "") == line.replace(" ", "")


def test_line_ends_fold_and_control_characters_go() -> None:
    assert one_line(" a\r\nb\tc\x00\x07d \u2028e ") == "a b cd e"


@given(st.text(st.characters() | st.sampled_from(" \t\n\x07"), max_size=20))
def test_one_line_has_single_spaces_between_words_and_no_control_characters(text: str) -> None:
    line = one_line(text)
    assert line == line.strip()
    assert "  " not in line
    assert not any(unicodedata.category(character) == "Cc" for character in line)
    assert [one for one in line if one.isalnum()] == [one for one in text if one.isalnum()]


def test_characters_that_the_face_lacks_are_remembered() -> None:
    metrics = TextMetrics({"a": 0.5})
    assert metrics.width("a漢é") == 0.5 + 1.0 + 0.8
    assert metrics.estimated == {"漢", "é"}
