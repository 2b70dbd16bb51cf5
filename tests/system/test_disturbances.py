"""What clients see while a part is away, or while somebody writes nonsense to the topics."""

from collections import defaultdict
from collections.abc import Collection

import httpx
from aiokafka import AIOKafkaProducer

from local_stack.polling import poll_until
from shared.bus.dead_letter import CONSUMER, ORIGIN_OFFSET, ORIGIN_PARTITION, ORIGIN_TOPIC
from shared.clock import utc_now
from shared.events import JobCompleted, ReportRequested, byte_headers, text_headers, type_name
from shared.job_id import JobIds
from shared.topics import Topic
from tests.system.catalogue import request
from tests.system.installation import TENANT, Installation
from tests.system.log import read_records
from tests.system.read_model import wait_until_verified
from tests.system.steps import SECONDS, assert_problem, complete, wait_for_webhook

Message = tuple[bytes, bytes | None, list[tuple[str, bytes]]]
"""Key, value, headers."""

Position = tuple[str, str]
"""Partition and offset, as a dead letter's headers say them."""

READERS = {
    Topic.REQUESTS: ("report-worker", "status-projector"),
    Topic.EVENTS: ("notifier", "status-projector"),
}
# Each of a type that all readers of its topic judge.
TYPES = {Topic.REQUESTS: type_name(ReportRequested), Topic.EVENTS: type_name(JobCompleted)}


async def write(
    installation: Installation, topic: Topic, messages: Collection[Message]
) -> set[Position]:
    """Write records past all our own code; return where they stand."""
    stack = installation.stack
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers, acks="all")
    await producer.start()
    try:
        name = stack.topic_prefix + topic
        sent = [
            await producer.send_and_wait(name, value, key=key, headers=headers)
            for key, value, headers in messages
        ]
    finally:
        await producer.stop()
    return {(str(record.partition), str(record.offset)) for record in sent}


async def wait_until_given_up(
    installation: Installation, topic: Topic, positions: set[Position]
) -> None:
    """Return once every reader of a topic has sent these records to the dead letter."""

    async def are_given_up() -> bool:
        found: dict[str, set[Position]] = defaultdict(set)
        for record in await read_records(installation.stack, Topic.DEAD_LETTER):
            headers = text_headers(record.headers)
            if headers[ORIGIN_TOPIC] == installation.stack.topic_prefix + topic:
                found[headers[CONSUMER]].add((headers[ORIGIN_PARTITION], headers[ORIGIN_OFFSET]))
        return all(found[reader] >= positions for reader in READERS[topic])

    await poll_until(are_given_up, seconds=SECONDS)


async def test_job_is_pending_while_the_projector_is_away(installation: Installation) -> None:
    client, stack = installation.client, installation.stack
    await stack.stop("status-projector")
    endpoint = installation.receiver.endpoint()
    accepted = await client.submit(request("ORDERS_SUMMARY", callbackUrl=endpoint.url))

    assert (await client.get(accepted.job_id)).status == "PENDING"
    # It has ended by now, and still never seems to be missing.
    await endpoint.wait_for_count(1)
    assert (await client.get(accepted.job_id)).status == "PENDING"
    assert accepted.job_id not in {job.job_id for job in await client.list_jobs()}

    await stack.start("status-projector")
    job = await client.wait_until_status(accepted.job_id)
    assert job.status == "COMPLETED"
    assert job.job_id in {job.job_id for job in await client.list_jobs(status="COMPLETED")}


async def test_nonsense_on_the_topics_stops_nothing(installation: Installation) -> None:
    positions = {}
    for topic, name in TYPES.items():
        named = [("ce_type", name.encode()), ("ce_id", b"1")]
        poison: list[Message] = [
            (b"key", None, []),
            (b"key", b"\xff\xfe nonsense", []),
            (b"key", b'{"jobId": 5}', named),
            (b"key", b"{", [*named, ("ce_subject", b"\xff")]),
        ]
        positions[topic] = await write(installation, topic, poison)

    endpoint = installation.receiver.endpoint()
    job = await complete(installation, "ORDERS_SUMMARY", callbackUrl=endpoint.url)
    assert (await wait_for_webhook(installation, job)).status == "DELIVERED"
    for topic, written in positions.items():
        await wait_until_given_up(installation, topic, written)


async def test_unreadable_request_of_a_known_job_is_rejected(installation: Installation) -> None:
    job_id = JobIds(installation.keys.job_ids, utc_now).new(TENANT)
    headers = {
        "ce_type": type_name(ReportRequested),
        "ce_id": "1",
        "ce_subject": job_id,
        "ce_tenant": TENANT,
    }
    record = (job_id.encode(), b"not JSON", byte_headers(headers))
    await write(installation, Topic.REQUESTS, [record])

    job = await installation.client.wait_until_status(job_id)

    assert (job.status, job.error_code) == ("FAILED", "REQUEST_REJECTED")


async def test_submission_is_refused_in_time_while_the_broker_is_away(
    installation: Installation,
) -> None:
    client, kafka = installation.client, installation.servers.kafka
    known = await complete(installation, "ORDERS_SUMMARY")
    await kafka.kill()
    try:
        response = await client.post(request("ORDERS_SUMMARY"))
        assert_problem(response, httpx.codes.SERVICE_UNAVAILABLE, "temporarily-unavailable")
        assert int(response.headers["retry-after"]) > 0
        # What is known is still told.
        assert (await client.get(known.job_id)).status == "COMPLETED"
    finally:
        await kafka.start()

    async def is_accepted_again() -> bool:
        return await client.try_to_submit(request("ORDERS_SUMMARY")) is not None

    await poll_until(is_accepted_again, seconds=SECONDS)
    await complete(installation, "ORDERS_SUMMARY")


async def test_read_model_is_the_fold_of_the_log_after_all_this(
    installation: Installation,
) -> None:
    await wait_until_verified(installation.stack)
