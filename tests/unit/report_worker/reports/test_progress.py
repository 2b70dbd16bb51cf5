"""How far a report has come: never back, and honest about what isn't known."""

from hypothesis import given
from hypothesis import strategies as st

from report_worker.reports import ProgressReporter
from shared.events import Progress

COUNTS = st.integers(0, 2**40)
TELLINGS = st.lists(
    st.one_of(
        st.tuples(st.just("phase"), st.one_of(st.none(), COUNTS), st.integers(-5, 200)),
        st.tuples(st.just("rows"), COUNTS),
        st.tuples(st.just("expect"), COUNTS),
    )
)


def tell(progress: ProgressReporter, telling: tuple[object, ...]) -> None:
    match telling:
        case ("phase", int() | None as total, int() as until):
            progress.phase("step", rows_total=total, until=until)
        case ("rows", int() as rows):
            progress.rows(rows)
        case ("expect", int() as total):
            progress.expect(total, phase="step")


@given(TELLINGS)
def test_the_percentage_never_goes_back_and_keeps_the_last_percent_for_the_report(
    tellings: list[tuple[object, ...]],
) -> None:
    progress = ProgressReporter()
    percents: list[int] = []
    for telling in tellings:
        tell(progress, telling)
        newest = progress.newest
        if newest is not None and newest.percent is not None:
            percents.append(newest.percent)
        elif newest is not None:
            assert not percents, "once known, it stays known"
    assert percents == sorted(percents)
    assert all(0 <= percent <= 99 for percent in percents)


def test_nothing_is_known_before_the_first_phase() -> None:
    progress = ProgressReporter()
    progress.rows(7)
    progress.expect(7, phase="step")
    assert progress.newest is None


def test_phases_share_the_hundred_percent() -> None:
    progress = ProgressReporter()
    progress.phase("query", until=40)
    assert progress.newest == Progress(phase="query")
    progress.expect(200, phase="query")
    progress.rows(50)
    assert progress.newest == Progress(phase="query", percent=10, rows_processed=50, rows_total=200)
    progress.phase("typeset", rows_total=100)
    progress.expect(5, phase="query")
    assert progress.newest == Progress(phase="typeset", percent=40, rows_total=100)
    progress.rows(100)
    assert progress.newest == Progress(
        phase="typeset", percent=99, rows_processed=100, rows_total=100
    )


def test_an_estimate_that_was_overtaken_is_told_no_more() -> None:
    progress = ProgressReporter()
    progress.phase("query", rows_total=10)
    progress.rows(11)
    assert progress.newest == Progress(phase="query", percent=99, rows_processed=11)
