"""The progress that a plugin tells: what can be shown is taken, and the rest refused at once."""

from datetime import date

import pytest

from report_worker.plugins import NoParameters, Report
from report_worker.reports import ProgressReporter

DAY = date(2024, 1, 1)


class OddCount:
    """A number of another library, such as numpy's."""

    def __index__(self) -> int:
        return 7


def report(progress: ProgressReporter | None = None) -> Report[NoParameters]:
    return Report(parameters=NoParameters(), from_date=DAY, to_date=DAY, progress=progress)


def test_phases_and_rows_are_shown_whichever_library_counted_them() -> None:
    progress = ProgressReporter()
    told = report(progress)
    told.phase("p" * 50, until=50, rows_total=14)
    told.rows(OddCount())  # type: ignore[arg-type]
    newest = progress.newest
    assert newest is not None
    assert (newest.phase, newest.percent, newest.rows_processed) == ("p" * 50, 25, 7)


@pytest.mark.parametrize("name", ["", "p" * 51, "a\0b", "a\ud800b", "a\nb"])
def test_a_phase_that_no_event_can_carry_is_refused_where_it_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="is no phase"):
        report().phase(name)


@pytest.mark.parametrize("rows", [-1, 2**63])
def test_a_number_of_rows_that_can_t_be_is_refused_where_it_is_told(rows: int) -> None:
    with pytest.raises(ValueError, match="is no number of rows"):
        report().rows(rows)
    with pytest.raises(ValueError, match="is no number of rows"):
        report().phase("query", rows_total=rows)
