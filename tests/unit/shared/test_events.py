"""Events and their derived ids: what makes an event twice makes the same event."""

import itertools
import uuid
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from shared.events import (
    AnyJobEvent,
    AttemptOutcome,
    JobAttemptEnded,
    JobCompleted,
    JobFailed,
    JobStarted,
    RequestedDateRange,
    RequestedReport,
    event_id,
    webhook_id,
)
from tests.support.job_histories import NOON, JobHistory, any_event, make_job_id

REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
)


def history(number: int = 1, attempt: int = 1) -> JobHistory:
    made = JobHistory(make_job_id(number), REQUEST)
    made.attempt = attempt
    return made


def test_id_does_not_depend_on_when_or_by_whom_the_event_is_made() -> None:
    started = history().started(1)
    again = started.model_copy(
        update={"started_at": NOON + timedelta(hours=1), "worker": "another"}
    )

    assert event_id(started) == event_id(again)


def test_events_of_other_jobs_runs_attempts_types_and_sequences_have_other_ids() -> None:
    events = [
        history().started(1),
        history(2).started(1),
        history().started(2),
        history(attempt=2).started(1),
        history().started(1).model_copy(update={"sequence": 1}),
        history().attempt_ended(1, AttemptOutcome.LOST),
        history().completed(1),
        history().failed(1),
        history().completed(2),
        history().delivered(1),
        history().exhausted(1),
        history().requested(),
    ]

    ids = {event_id(event) for event in events}
    assert len(ids) == len(events)


def test_end_of_a_run_is_one_event_whichever_attempt_brings_it_about() -> None:
    assert event_id(history(attempt=1).completed(1)) == event_id(history(attempt=3).completed(1))


@given(event=any_event)
def test_ids_are_uuids_of_their_own_namespace(event: AnyJobEvent) -> None:
    namespace = uuid.UUID("6f0d4b4e-7a0c-5f0e-9d53-1c1b1c3f6a11")
    is_end = isinstance(event, JobCompleted | JobFailed)
    attempt = 0 if is_end else getattr(event, "attempt", 0)
    sequence = 0 if is_end else getattr(event, "sequence", 0)
    kind = type(event).__name__
    name = f"{event.job_id}/{event.run}/{attempt}/{kind}/{sequence}"
    assert event_id(event) == uuid.uuid5(namespace, name)


def test_derivation_never_changes() -> None:
    """Subscribers remember ids: these are promises."""
    assert [
        str(event_id(event))
        for event in (history().requested(), history().started(1), history().completed(1))
    ] == [
        "2458c9d7-27d4-5d65-a218-26d7ca47c364",
        "83befe8a-fcac-5a73-ba3e-abbf16f7bd8d",
        "3582cb6f-3fa8-5351-8afb-b3f718785bce",
    ]


def test_webhook_id_derives_from_the_event_of_the_end() -> None:
    terminal = uuid.UUID("0198a6d6-0000-5000-8000-00000000abcd")

    assert webhook_id(terminal) == "msg_0198a6d600005000800000000000abcd"
    assert webhook_id(str(terminal)) == webhook_id(terminal)


@given(event=any_event)
def test_body_reads_as_what_was_written(event: AnyJobEvent) -> None:
    body = event.model_dump_json(by_alias=True)

    assert type(event).model_validate_json(body) == event


def test_body_is_written_in_camel_case() -> None:
    body = history().completed(1).model_dump(by_alias=True)

    names = [*body, *body["artifact"], *body["request"], *body["request"]["dateRange"]]
    assert not [name for name in names if "_" in name]
    assert {"jobId", "reportType", "createdAt", "rowCount", "finishedAt"} <= set(body)


def test_field_of_a_later_version_is_passed_over() -> None:
    body = history().started(1).model_dump(by_alias=True) | {"mood": "sunny"}

    assert JobStarted.model_validate(body) == history().started(1)


def test_request_keeps_the_fields_of_a_later_version() -> None:
    request = RequestedReport.model_validate(
        REQUEST.model_dump(by_alias=True) | {"priority": "HIGH"}
    )

    assert request.model_dump(by_alias=True)["priority"] == "HIGH"


def test_outcome_of_a_later_version_is_understood() -> None:
    body = history().attempt_ended(1, AttemptOutcome.LOST).model_dump(by_alias=True)

    assert JobAttemptEnded.model_validate(body | {"outcome": "EVICTED"}).outcome == "EVICTED"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("jobId", "job_12345"),
        ("jobId", "job_" + "z" * 40),
        ("tenant", ""),
        ("tenant", "t" * 256),
        ("run", 0),
        ("run", 2**31),
        ("attempt", -1),
        ("attempt", 2**31),
        ("sequence", 2**31),
        ("createdAt", "2026-03-01T12:00:00"),
        ("createdAt", "0001-01-01T00:00:00+14:00"),
        ("createdAt", "9999-12-31T23:59:59Z"),
        ("errorCode", "lower_case"),
    ],
)
def test_what_no_database_could_hold_or_index_is_refused(field: str, value: Any) -> None:
    body = history().failed(1).model_dump(by_alias=True)

    with pytest.raises(ValidationError):
        JobFailed.model_validate(body | {field: value})


def test_events_are_frozen() -> None:
    started = history().started(1)

    for name, value in itertools.product(("run", "worker"), (1,)):
        with pytest.raises(ValidationError):
            setattr(started, name, value)
