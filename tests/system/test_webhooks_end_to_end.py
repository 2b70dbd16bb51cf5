"""Webhooks from outside: what a receiver gets, however it behaves, and what the API tells of it."""

from tests.support.client import JobWebhook
from tests.support.receiver import NEVER, run_receiver
from tests.system.catalogue import BROKEN_QUERY
from tests.system.installation import DELIVERY_ATTEMPTS, Installation, Servers, run_installation
from tests.system.steps import complete, fail, wait_for_webhook


async def test_webhook_comes_once_and_says_what_get_says(installation: Installation) -> None:
    endpoint = installation.receiver.endpoint()
    job = await complete(installation, "ORDERS_SUMMARY", callbackUrl=endpoint.url)

    told = await wait_for_webhook(installation, job)

    assert told == JobWebhook(status="DELIVERED", attempts=1)
    [webhook] = endpoint.received
    assert webhook.is_verified
    assert webhook.payload["type"] == "report-job.completed"
    assert webhook.payload["jobId"] == job.job_id
    assert webhook.payload["downloadUrl"] == job.download_url


async def test_failed_job_is_told_too(installation: Installation) -> None:
    endpoint = installation.receiver.endpoint()
    job = await fail(installation, BROKEN_QUERY, callbackUrl=endpoint.url)

    [webhook] = await endpoint.wait_for_count(1)

    assert webhook.is_verified
    assert webhook.payload["type"] == "report-job.failed"
    assert webhook.payload["jobId"] == job.job_id
    assert webhook.payload["errorMessage"] == job.error_message


async def test_receiver_that_fails_twice_gets_the_same_webhook_again(
    installation: Installation,
) -> None:
    endpoint = installation.receiver.endpoint(500, 503, 204)
    job = await complete(installation, "ORDERS_SUMMARY", callbackUrl=endpoint.url)

    told = await wait_for_webhook(installation, job)

    assert told == JobWebhook(status="DELIVERED", attempts=3)
    assert len(endpoint.received) == 3
    assert all(webhook.is_verified for webhook in endpoint.received)
    assert len({webhook.webhook_id for webhook in endpoint.received}) == 1
    assert len({webhook.body for webhook in endpoint.received}) == 1


async def test_receiver_that_wants_no_more_is_not_asked_again(installation: Installation) -> None:
    endpoint = installation.receiver.endpoint(410)
    job = await complete(installation, "ORDERS_SUMMARY", callbackUrl=endpoint.url)

    told = await wait_for_webhook(installation, job)

    assert told == JobWebhook(status="EXHAUSTED", attempts=1)
    assert len(endpoint.received) == 1


async def test_receiver_that_never_answers_delays_no_other(installation: Installation) -> None:
    async with run_receiver(installation.keys.signing_secret) as silent:
        held, other = silent.endpoint(NEVER), installation.receiver.endpoint()
        slow = await complete(installation, "ORDERS_SUMMARY", callbackUrl=held.url)
        await held.wait_for_count(1)

        quick = await complete(installation, "ORDERS_SUMMARY", callbackUrl=other.url)

        assert (await wait_for_webhook(installation, quick)).status == "DELIVERED"
        untold = (await installation.client.get(slow.job_id)).webhook
        assert untold == JobWebhook(status="PENDING", attempts=0)
        again = await held.wait_for_count(2)
        assert [webhook.job_id for webhook in again] == [slow.job_id] * 2
        assert len({webhook.webhook_id for webhook in again}) == 1


async def test_strict_notifier_never_calls_loopback(servers: Servers) -> None:
    # The gateway here admits loopback, so that the notifier is what refuses.
    async with run_installation(servers, notifier={"NOTIFIER_STRICT": "1"}) as installation:
        endpoint = installation.receiver.endpoint()
        by_name = endpoint.url.replace("127.0.0.1", "localhost")
        jobs = [
            await complete(installation, "ORDERS_SUMMARY", callbackUrl=url)
            for url in (endpoint.url, by_name)
        ]

        told = [await wait_for_webhook(installation, job) for job in jobs]

        assert told == [JobWebhook(status="EXHAUSTED", attempts=DELIVERY_ATTEMPTS)] * 2
        assert endpoint.received == []
