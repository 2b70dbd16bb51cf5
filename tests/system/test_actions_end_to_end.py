"""Cancel, retry, delete and idempotency keys from outside, through all four services."""

import os
from datetime import timedelta
from typing import Any, Final

import asyncpg
import httpx

from local_stack.polling import poll_until
from tests.support.client import Job
from tests.system.catalogue import BROKEN_QUERY, SLOW_REPORT, request
from tests.system.installation import Installation
from tests.system.steps import SECONDS, assert_problem, complete, fail

_SLOW_QUERIES: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep(600)%'
  AND pid <> pg_backend_pid()
"""


PATIENCE: Final = timedelta(seconds=2)
"""For so long an answer waits until the read model has caught up with it."""
MOST_TRIES: Final = 5
"""Of which a busy machine spoils some."""


async def act(installation: Installation, method: str, job_id: str, path: str) -> httpx.Response:
    return await installation.client.http.request(method, f"/report-jobs/{job_id}{path}")


async def cancel(installation: Installation, job: Job) -> httpx.Response:
    return await act(installation, "POST", job.job_id, "/cancel")


async def details(installation: Installation, job: Job) -> dict[str, Any]:
    response = await installation.client.look_up(job.job_id)
    assert response.status_code == httpx.codes.OK, response.text
    found: dict[str, Any] = response.json()
    return found


def has_waited_in_vain(answer: httpx.Response) -> bool:
    """Tell whether the read model was too slow for an answer to wait until it had caught up."""
    return answer.elapsed >= PATIENCE


async def test_a_running_job_is_cancelled_and_its_query_too(installation: Installation) -> None:
    accepted = await installation.client.submit(request(SLOW_REPORT))
    await installation.client.wait_until_status(accepted.job_id, {"RUNNING"})
    connection = await asyncpg.connect(installation.stack.database.admin)
    try:

        async def runs() -> bool:
            return bool(await connection.fetchval(_SLOW_QUERIES))

        await poll_until(runs, seconds=SECONDS)
        answer = await cancel(installation, accepted)
        assert answer.status_code == httpx.codes.ACCEPTED
        assert answer.json()["cancelRequested"] is True
        job = await installation.client.wait_until_status(accepted.job_id)

        async def is_stopped() -> bool:
            return not await runs()

        await poll_until(is_stopped, seconds=SECONDS)
    finally:
        await connection.close()

    assert (job.status, job.error_code) == ("FAILED", "CANCELLED")
    shown = await details(installation, job)
    assert shown["cancelRequested"] is False
    [run] = shown["runs"]
    assert run["cancelRequestedAt"] is not None
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["FAILED"]
    assert_problem(await cancel(installation, job), httpx.codes.CONFLICT, "job-ended")


async def test_a_job_just_accepted_can_be_cancelled_at_once(installation: Installation) -> None:
    accepted = await installation.client.submit(request(SLOW_REPORT))
    answer = await cancel(installation, accepted)
    assert answer.status_code == httpx.codes.ACCEPTED
    job = await installation.client.wait_until_status(accepted.job_id)
    assert (job.status, job.error_code) == ("FAILED", "CANCELLED")


async def test_a_failed_job_is_run_again_and_keeps_its_history(installation: Installation) -> None:
    job = await fail(installation, BROKEN_QUERY)
    first = (await details(installation, job))["runs"]

    answer = await act(installation, "POST", job.job_id, "/retry")
    assert answer.status_code == httpx.codes.ACCEPTED
    assert (answer.json()["status"], answer.json()["run"]) == ("PENDING", 2)
    assert answer.headers["location"] == f"/report-jobs/{job.job_id}"
    # Whoever asks now finds the new run: the answer waited for it.
    assert (await details(installation, job))["run"] == 2 or has_waited_in_vain(answer)

    async def is_known() -> bool:
        return bool((await details(installation, job))["run"] == 2)

    await poll_until(is_known, seconds=SECONDS)
    again = await installation.client.wait_until_status(job.job_id)
    assert (again.job_id, again.status) == (job.job_id, "FAILED")
    runs = (await details(installation, job))["runs"]
    assert [run["run"] for run in runs] == [1, 2]
    assert runs[:1] == first
    assert runs[0]["attempts"][0]["attempt"] < runs[1]["attempts"][0]["attempt"]


async def test_a_completed_job_is_not_run_again(installation: Installation) -> None:
    job = await complete(installation, "ORDERS_SUMMARY")
    answer = await act(installation, "POST", job.job_id, "/retry")
    assert_problem(answer, httpx.codes.CONFLICT, "job-not-retryable")


async def test_a_deleted_job_is_gone_with_its_report(installation: Installation) -> None:
    job = await complete(installation, "ORDERS_SUMMARY")
    folder = installation.stack.files.directory.artifacts / job.job_id
    assert list(folder.rglob("*.csv"))

    answer = await act(installation, "DELETE", job.job_id, "")
    if has_waited_in_vain(answer):
        assert answer.status_code in {httpx.codes.ACCEPTED, httpx.codes.NO_CONTENT}

        async def is_gone() -> bool:
            looked_up = await installation.client.look_up(job.job_id)
            return looked_up.status_code == httpx.codes.GONE

        await poll_until(is_gone, seconds=SECONDS)
    else:
        assert answer.status_code == httpx.codes.NO_CONTENT
    assert_problem(await installation.client.look_up(job.job_id), httpx.codes.GONE, "job-deleted")
    link = await installation.client.download(job.download_url)
    assert_problem(link, httpx.codes.GONE, "job-deleted")
    assert job.job_id not in {listed.job_id for listed in await installation.client.list_jobs()}

    async def is_swept() -> bool:
        return not any(names for _, _, names in os.walk(folder))

    await poll_until(is_swept, seconds=SECONDS)


async def test_a_deletion_is_answered_once_the_read_model_knows_it(
    installation: Installation,
) -> None:
    answers = []
    for _ in range(MOST_TRIES):
        job = await fail(installation, BROKEN_QUERY)
        answers.append(await act(installation, "DELETE", job.job_id, ""))
        if not has_waited_in_vain(answers[-1]):
            break
    assert answers[-1].status_code == httpx.codes.NO_CONTENT


async def test_a_job_that_runs_is_not_deleted(installation: Installation) -> None:
    accepted = await installation.client.submit(request(SLOW_REPORT))
    answer = await act(installation, "DELETE", accepted.job_id, "")
    assert_problem(answer, httpx.codes.CONFLICT, "job-not-ended")
    await cancel(installation, accepted)
    await installation.client.wait_until_status(accepted.job_id)


async def test_a_replay_shows_the_first_answer_although_the_job_has_ended(
    installation: Installation,
) -> None:
    http, headers = installation.client.http, {"idempotency-key": '"orders of may"'}
    first = await http.post("/generate-report", json=request("ORDERS_SUMMARY"), headers=headers)
    await installation.client.wait_until_status(first.json()["jobId"])
    again = await http.post("/generate-report", json=request("ORDERS_SUMMARY"), headers=headers)
    assert (again.status_code, again.content) == (httpx.codes.ACCEPTED, first.content)
    assert again.headers["idempotent-replayed"] == "true"
