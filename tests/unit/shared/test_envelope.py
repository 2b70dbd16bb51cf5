"""CloudEvents in binary mode: what is written, and how tolerantly it is read."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import (
    AnyJobEvent,
    InvalidMessageError,
    OutgoingMessage,
    RequestedDateRange,
    RequestedReport,
    decode,
    encode,
    event_id,
    text_headers,
)
from shared.topics import Topic
from tests.support.job_histories import JobHistory, any_event, make_job_id

TIME = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REQUEST = RequestedReport(
    report_type="ORDERS_SUMMARY",
    date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
    format="CSV",
    parameters={"note": "x"},
)
HISTORY = JobHistory(make_job_id(1), REQUEST)


def written(**changes: str) -> OutgoingMessage:
    message = encode(HISTORY.requested(), source="gateway", time=TIME, traceparent=TRACE)
    return OutgoingMessage(message.topic, message.key, message.value, message.headers | changes)


def test_event_is_written_as_a_cloud_event_keyed_by_its_job() -> None:
    message = written()

    assert message.topic == Topic.REQUESTS
    assert message.key == make_job_id(1).encode()
    assert message.headers == {
        "ce_specversion": "1.0",
        "ce_id": str(event_id(HISTORY.requested())),
        "ce_source": "/report-jobs/gateway",
        "ce_type": "report-jobs.ReportRequested.v1",
        "ce_subject": make_job_id(1),
        "ce_time": "2026-03-01T12:00:00.000005Z",
        "ce_dataschema": "urn:report-jobs:events:ReportRequested:v1",
        "ce_tenant": "default",
        "content-type": "application/json",
        "traceparent": TRACE,
    }
    assert message.event_id == event_id(HISTORY.requested())


def test_event_without_a_trace_has_no_such_header() -> None:
    message = encode(HISTORY.started(1), source="report-worker", time=TIME)

    assert message.topic == Topic.EVENTS
    assert "traceparent" not in message.headers


@given(event=any_event)
def test_what_was_written_is_read(event: AnyJobEvent) -> None:
    message = encode(event, source="test", time=TIME, traceparent=TRACE)

    received = decode(message.headers, message.value)

    assert received is not None
    assert received.event == event
    assert type(received.event) is type(event)
    assert received.event_id == str(event_id(event))
    assert received.time == "2026-03-01T12:00:00.000005Z"
    assert received.traceparent == TRACE


@given(headers=st.dictionaries(st.text(), st.text()), value=st.none() | st.binary())
def test_any_record_is_read_or_refused_with_a_reason(
    headers: dict[str, str], value: bytes | None
) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        decode(headers | {"ce_type": "report-jobs.JobStarted.v1", "ce_id": "1"}, value)

    assert refused.value.reason.startswith("report-jobs.JobStarted.v1: ")


@pytest.mark.parametrize("missing", ["ce_type", "ce_id"])
def test_record_without_its_attributes_is_no_cloud_event(missing: str) -> None:
    message = written(**{missing: ""})

    with pytest.raises(InvalidMessageError, match="ce_type or ce_id is missing"):
        decode(message.headers, message.value)


def test_event_type_of_a_later_version_is_not_judged() -> None:
    assert decode(written(ce_type="report-jobs.ReportRequested.v2").headers, b"\xff") is None


def test_reason_names_the_fields_but_not_their_content() -> None:
    value = written().value.replace(b'"run":1', b'"run":"S3CR3T"')

    with pytest.raises(InvalidMessageError) as refused:
        decode(written().headers, value)

    assert "run: " in refused.value.reason
    assert "S3CR3T" not in refused.value.reason


def value_with_note(spelling: bytes) -> bytes:
    return written().value.replace(b'"note":"x"', b'"note":' + spelling)


@pytest.mark.parametrize("note", [rb"\u0000", rb"a\u0000b", rb"\\\u0000", rb"\u00000"])
def test_nul_character_is_refused(note: bytes) -> None:
    with pytest.raises(InvalidMessageError, match="NUL"):
        decode(written().headers, value_with_note(b'"%s"' % note))


@pytest.mark.parametrize("note", [rb"\\u0000", rb"\\\\u0000", rb"\u0001", b"u0000"])
def test_text_that_only_spells_a_nul_character_is_read(note: bytes) -> None:
    assert decode(written().headers, value_with_note(b'"%s"' % note)) is not None


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_number_that_json_does_not_know_is_passed_on_as_null(number: bytes) -> None:
    received = decode(written().headers, value_with_note(number))

    assert received is not None
    assert '"note":null' in received.event.model_dump_json()


def test_header_values_that_are_no_text_are_replaced() -> None:
    assert text_headers([("a", b"\xff"), ("b", None), ("c", b"1"), ("c", b"2"), ("d", b"x\0")]) == {
        "a": "\ufffd",
        "b": "",
        "c": "2",
        "d": "x\ufffd",
    }
