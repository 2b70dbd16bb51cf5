"""What of a poll is read: where each event stood, and what a consumer doesn't want to know."""

from dataclasses import replace

from aiokafka import ConsumerRecord, TopicPartition

from shared.bus.batch import read_records, type_names
from shared.bus.dead_letter import ORIGIN_OFFSET, REASON
from shared.database.positions import Advance
from shared.events import (
    AnyJobEvent,
    JobCompleted,
    JobFailed,
    OutgoingMessage,
    RequestedDateRange,
    RequestedReport,
    byte_headers,
    encode,
)
from tests.support.job_histories import NOON, JobHistory, make_job_id

PARTITION = TopicPartition("prefix.report-jobs.events.v1", 3)
HISTORY = JobHistory(
    make_job_id(1),
    RequestedReport(
        report_type="ORDERS_SUMMARY",
        date_range=RequestedDateRange(from_date="2026-01-01", to_date="2026-01-31"),
        format="CSV",
    ),
)
ENDS = type_names([JobCompleted, JobFailed])


def message(event: AnyJobEvent) -> OutgoingMessage:
    return encode(event, source="test", time=NOON)


def record(offset: int, sent: OutgoingMessage) -> ConsumerRecord:
    headers = tuple(byte_headers(sent.headers))
    return ConsumerRecord(
        PARTITION.topic, PARTITION.partition, offset, 0, 0, sent.key, sent.value, 0, 0, 0, headers
    )


def test_events_tell_where_they_stood() -> None:
    records = [record(7, message(HISTORY.started(1))), record(9, message(HISTORY.completed(1)))]

    batch, _ = read_records({PARTITION: records}, {PARTITION: 7}, "group")

    assert [(e.topic, e.offset) for e in batch.events] == [
        (PARTITION.topic, 7),
        (PARTITION.topic, 9),
    ]
    assert batch.progress == {PARTITION: Advance(follows=7, next_offset=10)}


def test_only_wanted_types_are_handed_out_and_the_progress_goes_past_the_others() -> None:
    events: list[AnyJobEvent] = [
        HISTORY.started(1),
        HISTORY.completed(1),
        HISTORY.delivered(1),
    ]
    records = [record(offset, message(event)) for offset, event in enumerate(events)]

    batch, letters = read_records({PARTITION: records}, {}, "group", ENDS)

    assert [received.event for received in batch.events] == [HISTORY.completed(1)]
    assert batch.progress == {PARTITION: Advance(follows=0, next_offset=3)}
    assert letters == []


def test_record_of_an_unwanted_type_is_left_to_those_who_want_it() -> None:
    broken = record(0, replace(message(HISTORY.started(1)), value=b"{"))

    _, letters = read_records({PARTITION: [broken]}, {}, "notifier", ENDS)
    _, of_all = read_records({PARTITION: [broken]}, {}, "status-projector")

    assert letters == []
    assert len(of_all) == 1


def test_record_of_a_wanted_type_or_of_none_is_judged() -> None:
    broken = record(0, replace(message(HISTORY.completed(1)), value=b"{"))
    nameless = record(1, replace(message(HISTORY.started(1)), headers={"ce_id": "1"}))

    batch, letters = read_records({PARTITION: [broken, nameless]}, {}, "notifier", ENDS)

    assert len(letters) == len(batch.invalid) == 2


def test_event_that_is_objected_to_goes_to_the_dead_letter_as_it_was_written() -> None:
    sent = [message(HISTORY.started(1)), message(HISTORY.completed(1))]
    records = [record(offset, one) for offset, one in enumerate(sent)]

    batch, (letter,) = read_records(
        {PARTITION: records},
        {},
        "group",
        objection=lambda received: (
            "not by its writer" if isinstance(received.event, JobCompleted) else None
        ),
    )

    assert [received.event for received in batch.events] == [HISTORY.started(1)]
    assert batch.invalid == []
    assert batch.progress == {PARTITION: Advance(follows=0, next_offset=2)}
    assert (letter.key, letter.value) == (sent[1].key, sent[1].value)
    assert letter.headers[REASON] == "not by its writer"
    assert letter.headers[ORIGIN_OFFSET] == "1"
