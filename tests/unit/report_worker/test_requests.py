"""In which order a batch of requests takes effect."""

from hypothesis import given
from hypothesis import strategies as st

from report_worker.domain import Cancellation, Deletion, Rejection, Request, Round, rounds
from tests.support.report_runs import job_id, new_run


def requests_of(round_: Round) -> list[Request]:
    return [*round_.runs, *round_.rejections, *round_.cancellations, *round_.deletions]


def job_of(request: Request) -> str:
    match request:
        case Rejection():
            return request.run.job_id
        case Deletion():
            return request.seen.job_id
        case _:
            return request.job_id


jobs = st.integers(1, 4)
runs = st.integers(1, 3)
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(lambda job, run: new_run(job, run=run), jobs, runs),
    st.builds(lambda job, run: Rejection(new_run(job, run=run), "no"), jobs, runs),
    st.builds(lambda job, run: Cancellation(job_id(job), run), jobs, runs),
    st.builds(lambda job: Deletion(new_run(job)), jobs),
)


def without_repeats(of_job: list[Request]) -> list[Request]:
    return [one for one, before in zip(of_job, [None, *of_job], strict=False) if one != before]


@given(st.lists(requests))
def test_what_is_asked_of_a_job_keeps_its_order_and_nothing_is_lost(batch: list[Request]) -> None:
    made = [requests_of(round_) for round_ in rounds(batch)]
    for job in {job_of(request) for request in batch}:
        of_job = [request for request in batch if job_of(request) == job]
        applied = [request for round_ in made for request in round_ if job_of(request) == job]
        assert applied == without_repeats(of_job)


@given(st.lists(requests))
def test_a_round_asks_one_thing_of_a_job(batch: list[Request]) -> None:
    for round_ in rounds(batch):
        of_jobs = [job_of(request) for request in requests_of(round_)]
        assert len(of_jobs) == len(set(of_jobs)) > 0


def test_requests_of_different_jobs_take_one_round() -> None:
    assert len(rounds([new_run(1), new_run(2), Cancellation(job_id(3), 1)])) == 1
