"""Generated event histories: plausible ones, and any mixture that broken producers could write."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis import strategies as st
from pydantic import BaseModel

from shared.events import (
    UNKNOWN,
    AnyJobEvent,
    Artifact,
    AttemptOutcome,
    CancelRequested,
    DeleteRequested,
    JobAttemptEnded,
    JobCompleted,
    JobFailed,
    JobProgressed,
    JobStarted,
    Progress,
    ReportRequested,
    RequestedDateRange,
    RequestedReport,
    RetryRequested,
    WebhookDelivered,
    WebhookExhausted,
)
from shared.job_id import JobIds
from shared.keyring import KeyRing
from status_projector.domain import LoggedEvent, Vector

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
_KEYS = KeyRing(signing_number=1, keys={1: bytes(32)})


def make_job_id(number: int) -> str:
    """Return the same certified id for the same number."""
    return JobIds(_KEYS, lambda: NOON, number.to_bytes).new("default")


def build(model: type[M], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[M]:
    """Build a model from strategies by Python field name (`st.builds` would want the aliases)."""
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
# Few different values, so that versions meet and ties happen; zones, so that moments have
# several spellings.
moments = st.builds(
    lambda seconds, hours: (NOON + timedelta(seconds=seconds)).astimezone(
        timezone(timedelta(hours=hours))
    ),
    st.sampled_from([0, 1, 0.000001]),
    st.sampled_from([0, 0, 5.5, -8]),
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
requests = build(
    RequestedReport,
    report_type=st.sampled_from(["ORDERS_SUMMARY", "ORDERS_DETAIL"]),
    date_range=st.just(RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31")),
    format=st.sampled_from(["CSV", "PDF"]),
    callback_url=st.none() | st.just("https://client.example.com/hook"),
    parameters=st.dictionaries(texts, json_values, max_size=2),
)
artifacts = build(
    Artifact,
    path=texts,
    file_name=texts,
    media_type=st.just("text/csv"),
    byte_count=st.integers(0, 2**63 - 1),
    sha256=st.just("0" * 64),
)
_job = {
    "job_id": st.sampled_from([make_job_id(number) for number in range(3)]),
    "tenant": st.sampled_from(["default", "other"]),
    "created_at": moments,
    "report_type": st.sampled_from(["ORDERS_SUMMARY", UNKNOWN]),
    "format": st.sampled_from(["CSV", "PDF"]),
    "run": st.integers(1, 3),
}
_execution = {**_job, "attempt": st.integers(0, 3), "sequence": st.integers(0, 1)}
_ended = {**_execution, "started_at": st.none() | moments, "finished_at": moments}
_webhook = {**_job, "webhook_id": texts, "attempts": st.integers(1, 3)}

progresses = build(
    Progress,
    phase=st.sampled_from(["query", "upload"]),
    percent=st.none() | st.integers(0, 100),
    rows_processed=st.none() | st.integers(0, 2**63 - 1),
    rows_total=st.none() | st.integers(0, 2**63 - 1),
)

deletions = build(DeleteRequested, **_job, requested_at=moments)
any_request = build(ReportRequested, **_job, request=requests)
living_event: st.SearchStrategy[AnyJobEvent] = st.one_of(
    any_request,
    build(RetryRequested, **_job, request=requests, requested_at=moments),
    build(CancelRequested, **_job, requested_at=moments),
    build(
        JobProgressed,
        **_execution,
        started_at=moments,
        progressed_at=moments,
        worker=texts,
        progress=progresses,
    ),
    build(JobStarted, **_execution, started_at=moments, worker=texts),
    build(
        JobAttemptEnded,
        **_execution,
        outcome=st.sampled_from(AttemptOutcome),
        started_at=moments,
        ended_at=moments,
        retry_at=moments,
        error_message=st.none() | texts,
    ),
    build(
        JobCompleted,
        **_ended,
        request=requests,
        artifact=artifacts,
        row_count=st.integers(0, 2**63 - 1),
    ),
    build(
        JobFailed,
        **_ended,
        request=st.none() | requests,
        error_code=st.sampled_from(["REQUEST_REJECTED", "REPORT_GENERATION_FAILED"]),
        error_message=texts,
        retryable=st.booleans(),
    ),
    build(WebhookDelivered, **_webhook, delivered_at=moments, status_code=st.just(200)),
    build(WebhookExhausted, **_webhook, exhausted_at=moments, reason=texts),
)
"""One event of one of three jobs, with nothing to hold it to any other event; no deletion."""

vectors = st.builds(Vector, st.integers(0, 9), st.integers(0, 9))
# A deletion hides all that the others do, so it comes seldom.
any_event = st.one_of(*[living_event] * 9, deletions)
any_logged = st.lists(st.tuples(any_event, vectors), max_size=12)
"""Events with the vectors that they advance."""


def logged(events: Iterable[AnyJobEvent]) -> list[LoggedEvent]:
    """Put events into a log, one after the other."""
    return [(event, Vector(n, n)) for n, event in enumerate(events, start=1)]


@st.composite
def batched(draw: st.DrawFn, events: list[T]) -> list[list[T]]:
    """Shuffle events, repeat some, and cut the result into batches."""
    repeated = draw(st.lists(st.sampled_from(events), max_size=6)) if events else []
    order = draw(st.permutations([*events, *repeated]))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=4)))
    bounds = [0, *cuts, len(order)]
    return [order[start:end] for start, end in pairwise(bounds)]


@st.composite
def plausible_history(draw: st.DrawFn, job_id: str) -> list[AnyJobEvent]:
    """Draw what one job may really go through, in its order: runs of attempts, lost or failed
    ones among them, each run with one end, and webhooks; possibly cut off in the middle.
    """
    history = JobHistory(job_id, draw(requests))
    events: list[AnyJobEvent] = [history.requested()]
    for run in range(1, draw(st.integers(1, 3)) + 1):
        events += [history.retry_requested(run)] if run > 1 else []
        for outcome in draw(st.lists(st.sampled_from(AttemptOutcome), max_size=2)):
            events += [history.started(run), history.attempt_ended(run, outcome)]
            history.attempt += 1
        events.append(history.started(run))
        events += [history.progressed(run, n) for n in range(1, draw(st.integers(1, 3)))]
        events += draw(st.sampled_from([[], [history.cancel_requested(run)]]))
        ends: list[AnyJobEvent] = [history.completed(run), history.failed(run)]
        events.append(draw(st.sampled_from(ends)))
        history.attempt += 1
        events += draw(st.sampled_from([[], [history.delivered(run)], [history.exhausted(run)]]))
    return events[: draw(st.integers(1, len(events)))]


class JobHistory:
    """Makes the events of one job, with every clock standing still but the attempt's number."""

    def __init__(self, job_id: str, request: RequestedReport) -> None:
        self.attempt = 1
        self._request = request
        self._job = {
            "job_id": job_id,
            "tenant": "default",
            "created_at": NOON,
            "report_type": request.report_type,
            "format": request.format,
        }

    @property
    def _moment(self) -> datetime:
        return NOON + timedelta(seconds=self.attempt)

    def requested(self) -> ReportRequested:
        return ReportRequested(**self._job, run=1, request=self._request)

    def started(self, run: int) -> JobStarted:
        return JobStarted(
            **self._job, run=run, attempt=self.attempt, started_at=self._moment, worker="worker"
        )

    def retry_requested(self, run: int) -> RetryRequested:
        return RetryRequested(
            **self._job, run=run, request=self._request, requested_at=self._moment
        )

    def cancel_requested(self, run: int) -> CancelRequested:
        return CancelRequested(**self._job, run=run, requested_at=self._moment)

    def delete_requested(self, run: int) -> DeleteRequested:
        return DeleteRequested(**self._job, run=run, requested_at=self._moment)

    def progressed(self, run: int, sequence: int) -> JobProgressed:
        return JobProgressed(
            **self._job,
            run=run,
            attempt=self.attempt,
            sequence=sequence,
            started_at=self._moment,
            progressed_at=self._moment + timedelta(seconds=sequence),
            worker="worker",
            progress=Progress(
                phase="query", percent=sequence, rows_processed=sequence, rows_total=100
            ),
        )

    def attempt_ended(self, run: int, outcome: AttemptOutcome) -> JobAttemptEnded:
        return JobAttemptEnded(
            **self._job,
            run=run,
            attempt=self.attempt,
            outcome=outcome,
            started_at=self._moment,
            ended_at=self._moment,
            retry_at=self._moment,
            error_code="SOURCE_UNAVAILABLE",
            error_message="The data source doesn't answer.",
        )

    def completed(self, run: int) -> JobCompleted:
        return JobCompleted(
            **self._job,
            run=run,
            attempt=self.attempt,
            started_at=self._moment,
            finished_at=self._moment,
            request=self._request,
            artifact=Artifact(
                path=f"{self._job['job_id']}/{run}/{self.attempt}/report.csv",
                file_name="report.csv",
                media_type="text/csv",
                byte_count=1234,
                sha256="a" * 64,
            ),
            row_count=10,
        )

    def failed(self, run: int) -> JobFailed:
        return JobFailed(
            **self._job,
            run=run,
            attempt=self.attempt,
            started_at=self._moment,
            finished_at=self._moment,
            request=self._request,
            error_code="REPORT_GENERATION_FAILED",
            error_message="The data source doesn't answer.",
            retryable=True,
        )

    def delivered(self, run: int) -> WebhookDelivered:
        return WebhookDelivered(
            **self._job,
            run=run,
            webhook_id="msg_1",
            attempts=2,
            delivered_at=self._moment,
            status_code=204,
        )

    def exhausted(self, run: int) -> WebhookExhausted:
        return WebhookExhausted(
            **self._job,
            run=run,
            webhook_id="msg_1",
            attempts=9,
            exhausted_at=self._moment,
            reason="status_500",
        )
