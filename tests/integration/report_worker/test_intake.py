"""What the requests topic may hold: a bad record never stops the stream or costs a neighbour."""

import json
from dataclasses import replace

from shared.bus.dead_letter import REASON
from shared.bus.stored_log import open_log
from shared.events import (
    JobFailed,
    OutgoingMessage,
    ReportRequested,
    RequestedReport,
    RetryRequested,
    encode,
    text_headers,
)
from shared.job_id import JobId
from shared.settings import KafkaSettings
from shared.topics import Topic
from tests.support.report_worker import WorkerBench


def message(event: ReportRequested) -> OutgoingMessage:
    return encode(event, source="gateway", time=event.created_at)


def with_body(event: ReportRequested, **changes: object) -> OutgoingMessage:
    """Publish the event with a body that the gateway would never write."""
    made = message(event)
    body = json.loads(made.value) | changes
    return replace(made, value=json.dumps(body).encode())


async def dead_letter_reasons(settings: KafkaSettings) -> list[str]:
    """Return why the dead letters so far were written."""
    async with open_log(settings, [Topic.DEAD_LETTER]) as log:
        ((partition, offsets),) = (await log.bounds()).items()
        return [
            text_headers(record.headers)[REASON]
            async for records in log.read(partition, offsets)
            for record in records
        ]


async def test_a_bad_request_ends_its_own_job_alone(bench: WorkerBench) -> None:
    unreadable, nul, surrogate, unknown, huge = (bench.request("EMPTY") for _ in range(5))
    much = RequestedReport.model_validate({**huge.request.model_dump(), "note": "x" * 300_000})
    strange = unknown.request.model_copy(update={"report_type": "NOPE"})
    good = bench.request("EMPTY")
    await bench.start_worker()
    await bench.publish(
        replace(message(unreadable), value=b"{"),
        with_body(nul, request={**nul.request.model_dump(by_alias=True), "note": "a\0b"}),
        with_body(surrogate, request=surrogate.request.model_dump(by_alias=True) | {"x": "\ud800"}),
        message(unknown.model_copy(update={"report_type": "NOPE", "request": strange})),
        message(huge.model_copy(update={"request": much})),
        message(good),
        message(good),
    )
    await bench.told(JobId(good.job_id), "1 started", "1 completed")
    for event in (unreadable, nul, surrogate, unknown, huge):
        await bench.told(JobId(event.job_id), "0 REQUEST_REJECTED")
        ended = bench.events.ended(JobId(event.job_id))
        assert isinstance(ended, JobFailed)
        assert not ended.retryable


async def test_a_request_whose_job_id_the_gateway_never_gave_is_not_executed(
    bench: WorkerBench,
) -> None:
    await bench.start_worker()
    of_another_tenant = bench.request("EMPTY").model_copy(update={"tenant": "mallory"})
    good = bench.request("EMPTY")
    await bench.publish(message(of_another_tenant), message(good))
    await bench.told(JobId(good.job_id), "1 started", "1 completed")
    await bench.all_read()  # the two requests are in different partitions
    (reason,) = await dead_letter_reasons(bench.kafka)
    assert of_another_tenant.job_id in reason
    assert await bench.states(JobId(of_another_tenant.job_id)) == []
    assert bench.events.of(JobId(of_another_tenant.job_id)) == []


async def test_a_retry_is_a_run_of_its_own_and_starts_once(bench: WorkerBench) -> None:
    await bench.start_worker()
    job = await bench.submit("NO_SUCH_TABLE")
    await bench.told(job, "1 started", "1 REPORT_GENERATION_FAILED")
    for _ in range(2):
        await bench.ask(RetryRequested, job, run=2)
    await bench.all_read()
    await bench.told(job, "1 started", "1 REPORT_GENERATION_FAILED", "2 started", "2 completed")
    assert await bench.states(job) == ["ended", "ended"]
