"""How requests of the log are judged, over a queue and slots that keep what they get."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from report_worker.domain import Attempt, Cancellation, Deletion, NewRun, Rejection
from report_worker.handlers import LARGEST_REQUEST, RequestsHandler
from report_worker.service import Intake, Queue, Slots
from shared.bus import Batch, InvalidRecord
from shared.catalogue import Catalogue, ReportType
from shared.clock import utc_now
from shared.events import (
    CancelRequested,
    DeleteRequested,
    InvalidMessageError,
    ReceivedEvent,
    ReportRequested,
    RequestedReport,
    RetryRequested,
    decode,
    encode,
)
from shared.job_id import JobIds, created_at
from shared.keyring import KeyRing
from tests.support.report_runs import NOON, REQUEST, attempt

IDS = JobIds(KeyRing.parse("1:" + "A" * 43 + "="), utc_now)
CATALOGUE = Catalogue(
    [
        ReportType.model_validate(
            {
                "name": "EMPTY", "title": "Empty", "source": "orders", "sql": "SELECT 1 AS x",
                "columns": [{"name": "x", "title": "X", "type": "integer"}],
            }
        )
    ]
)  # fmt: skip
TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


AnyRequest = RetryRequested | CancelRequested | DeleteRequested


@dataclass
class KeepingQueue:
    """Claims `attempts` for whatever it takes in."""

    attempts: list[Attempt] = field(default_factory=list)
    taken: list[tuple[Intake, int]] = field(default_factory=list)

    async def take_in(self, intake: Intake, *, free_slots: int) -> list[Attempt]:
        self.taken.append((intake, free_slots))
        return self.attempts


@dataclass
class KeepingSlots:
    """Two are free."""

    started: list[Attempt] = field(default_factory=list)

    @contextmanager
    def reservation(self) -> Iterator[int]:
        yield 2

    def start(self, attempts: Sequence[Attempt]) -> None:
        self.started += attempts


def requested(**changes: Any) -> ReportRequested:
    job = IDS.new("acme")
    fields: dict[str, Any] = {
        "job_id": job, "tenant": "acme", "created_at": created_at(job), "report_type": "EMPTY",
        "format": "CSV", "run": 1, "request": REQUEST,
    }  # fmt: skip
    return ReportRequested(**fields | changes)


def received(event: ReportRequested | AnyRequest, traceparent: str | None = None) -> ReceivedEvent:
    return ReceivedEvent(event=event, event_id="1", time="", traceparent=traceparent)


def handler_of(queue: KeepingQueue, slots: KeepingSlots) -> RequestsHandler:
    return RequestsHandler(
        CATALOGUE,
        IDS,
        cast("Queue", queue),
        cast("Slots", slots),
        retention=timedelta(days=7),
    )


async def judged(*events: ReceivedEvent, invalid: Sequence[InvalidRecord] = ()) -> Intake:
    queue = KeepingQueue()
    handler = handler_of(queue, KeepingSlots())
    await handler.handle(Batch(events=list(events), invalid=list(invalid), progress={}))
    ((intake, _),) = queue.taken
    return intake


async def test_a_fitting_request_becomes_a_run() -> None:
    event = requested()
    intake = await judged(received(event, TRACEPARENT))
    (run,) = intake.requests
    assert isinstance(run, NewRun)
    assert (run.job_id, run.run, run.tenant, run.request) == (event.job_id, 1, "acme", REQUEST)
    assert run.traceparent == TRACEPARENT
    assert run.start_by == event.created_at + timedelta(days=1)


def asked(kind: type[AnyRequest], **changes: Any) -> AnyRequest:
    """Make a request about a job of acme, an hour after its creation."""
    fields = requested().model_dump() | {"requested_at": NOON + timedelta(hours=1)} | changes
    return kind.model_validate(fields)


async def test_a_retry_is_judged_like_a_first_request_and_may_wait_as_long() -> None:
    fitting = asked(RetryRequested, run=2)
    gone = REQUEST.model_copy(update={"report_type": "GONE"})
    run, rejection = (
        await judged(received(fitting), received(asked(RetryRequested, run=3, request=gone)))
    ).requests
    assert isinstance(run, NewRun)
    assert (run.job_id, run.run, run.request) == (fitting.job_id, 2, REQUEST)
    assert run.start_by == NOON + timedelta(hours=1, days=1)
    assert isinstance(rejection, Rejection)
    assert rejection.run.run == 3


async def test_requests_of_a_batch_keep_their_order() -> None:
    submitted = requested()
    cancelled, deleted = (
        asked(kind, job_id=submitted.job_id) for kind in (CancelRequested, DeleteRequested)
    )
    intake = await judged(received(submitted), received(cancelled), received(deleted))
    run, cancellation, deletion = intake.requests
    assert isinstance(run, NewRun)
    assert cancellation == Cancellation(run.job_id, 1)
    assert isinstance(deletion, Deletion)
    assert (deletion.seen.job_id, deletion.seen.request) == (run.job_id, None)


@pytest.mark.parametrize("kind", [RetryRequested, CancelRequested, DeleteRequested])
def test_what_is_asked_of_a_job_under_another_tenant_s_name_goes_to_the_dead_letter(
    kind: type[AnyRequest],
) -> None:
    handler = handler_of(KeepingQueue(), KeepingSlots())
    assert handler.objection(received(asked(kind))) is None
    assert handler.objection(received(asked(kind, tenant="mallory"))) is not None


@pytest.mark.parametrize("age", [timedelta(days=6, hours=23), timedelta(days=7, hours=1)])
async def test_requests_of_a_job_whose_report_has_expired_are_left_alone(age: timedelta) -> None:
    job = JobIds(IDS.keys, lambda: utc_now() - age).new("acme")
    intake = await judged(
        received(requested(job_id=job)),
        received(asked(CancelRequested, job_id=job)),
        received(asked(DeleteRequested, job_id=job)),
        invalid=[unreadable(ce_subject=job)],
    )
    assert len(intake.requests) == (4 if age < timedelta(days=7) else 0)


async def test_what_was_claimed_at_intake_is_started() -> None:
    queue, slots = KeepingQueue([attempt()]), KeepingSlots()
    handler = handler_of(queue, slots)
    await handler.handle(Batch(events=[], invalid=[], progress={}))
    assert slots.started == [attempt()]
    assert queue.taken[0][1] == 2


@pytest.mark.parametrize(
    ("request_changes", "reason"),
    [
        ({"report_type": "NOPE"}, "/reportType: is not one of EMPTY"),
        ({"format": "XLS"}, "format: Input should be"),
        (
            {"date_range": {"from_date": "2024-02-30", "to_date": "2024-03-01"}},
            "dateRange.fromDate",
        ),
        ({"date_range": {"from_date": "2024-03-02", "to_date": "2024-03-01"}}, "/dateRange/toDate"),
        ({"parameters": {"surprise": 1}}, "/parameters"),
    ],
)
async def test_a_request_that_can_t_be_executed_is_rejected_with_the_reason(
    request_changes: dict[str, Any], reason: str
) -> None:
    request = RequestedReport.model_validate(REQUEST.model_dump() | request_changes)
    intake = await judged(received(requested(request=request)))
    (rejection,) = intake.requests
    assert isinstance(rejection, Rejection)
    assert rejection.reason.startswith(reason)
    assert rejection.run.request == request


async def test_a_bad_request_costs_no_neighbour() -> None:
    bad = requested(request=REQUEST.model_copy(update={"report_type": "NOPE"}))
    intake = await judged(received(requested()), received(bad), received(requested()))
    assert [type(request) for request in intake.requests] == [NewRun, Rejection, NewRun]


@pytest.mark.parametrize(
    "changes",
    [
        {"request": REQUEST.model_copy(update={"callback_url": "x" * LARGEST_REQUEST})},
        {"report_type": "R" * 1000},
        {"format": "F" * 1000},
    ],
)  # fmt: skip
async def test_a_request_too_large_to_be_told_of_is_rejected_without_it(
    changes: dict[str, Any],
) -> None:
    intake = await judged(received(requested(**changes)))
    (rejection,) = intake.requests
    assert isinstance(rejection, Rejection)
    assert rejection.run.request is None
    assert (rejection.run.report_type, rejection.run.format) == ("UNKNOWN", "UNKNOWN")


@pytest.mark.parametrize(
    "changes", [{"tenant": "mallory"}, {"job_id": IDS.new("mallory")}], ids=["tenant", "id"]
)
def test_an_uncertified_job_id_goes_to_the_dead_letter(changes: dict[str, str]) -> None:
    event = requested(**changes)
    reason = handler_of(KeepingQueue(), KeepingSlots()).objection(received(event))
    assert reason == f"{event.job_id} is no job id of tenant {event.tenant}"


async def test_a_traceparent_that_is_none_is_not_carried_on() -> None:
    intake = await judged(received(requested(), "x" * 5000))
    (run,) = intake.requests
    assert isinstance(run, NewRun)
    assert run.traceparent is None


async def test_events_of_other_types_are_left_alone() -> None:
    headers = {"ce_type": "report-jobs.JobStarted.v1", "ce_id": "1"}
    body = requested().model_dump(mode="json", by_alias=True)
    started = body | {"attempt": 1, "startedAt": NOON.isoformat(), "worker": "w"}
    event = decode(headers, json.dumps(started).encode())
    assert event is not None
    assert await judged(event) == Intake(progress={})


def unreadable(**headers: str) -> InvalidRecord:
    job = IDS.new("acme")
    known = {"ce_subject": job, "ce_tenant": "acme", "ce_type": "report-jobs.ReportRequested.v1"}
    return InvalidRecord(key=job.encode(), headers=known | headers, reason="no JSON")


async def test_an_unreadable_request_of_a_job_of_ours_ends_the_job() -> None:
    record = unreadable()
    (rejection,) = (await judged(invalid=[record])).requests
    assert isinstance(rejection, Rejection)
    assert rejection.run.job_id == record.headers["ce_subject"]
    assert rejection.run.request is None
    assert rejection.reason == "The request could not be read."


@pytest.mark.parametrize(
    "headers",
    [{"ce_tenant": "mallory"}, {"ce_subject": "job_x"}, {"ce_type": "report-jobs.Other.v1"}],
)
async def test_an_unreadable_record_that_is_no_request_of_ours_ends_nothing(
    headers: dict[str, str],
) -> None:
    assert await judged(invalid=[unreadable(**headers)]) == Intake(progress={})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["parameters", "format", "note", "callbackUrl"]), json_values)
)
async def test_whatever_a_request_holds_it_is_judged(changes: dict[str, Any]) -> None:
    event = requested()
    message = encode(event, source="gateway", time=NOON)
    body = json.loads(message.value)
    body["request"] |= changes
    try:
        read = decode(message.headers, json.dumps(body).encode())
    except InvalidMessageError:
        return
    assert read is not None
    intake = await judged(read)
    assert len(intake.requests) == 1
