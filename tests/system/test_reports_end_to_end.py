"""The main job from outside: HTTP in, files out, over a real broker and a real database."""

import base64
import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import pypdf
import pytest

from local_stack.polling import poll_until
from shared.clock import utc_now
from shared.job_id import JobIds
from shared.links import DownloadLinks
from tests.support.client import ENDED, Job, JobProgress
from tests.system.catalogue import (
    BROKEN_QUERY,
    KNOWN_TO_GATEWAY,
    SOURCE_AWAY,
    STEADY_GATES,
    STEADY_REPORT,
    request,
)
from tests.system.installation import (
    MAX_FAILURES,
    SOURCE_PASSWORD,
    TENANT,
    Installation,
)
from tests.system.steps import (
    SECONDS,
    assert_is_for_people,
    assert_problem,
    attempts_of,
    complete,
    fail,
)

Sums = dict[str, tuple[int, Decimal]]
"""Number and total amount of orders by currency."""


async def sums_in_source(installation: Installation) -> Sums:
    connection = await asyncpg.connect(installation.stack.database.report_source)
    try:
        rows = await connection.fetch(
            "SELECT currency, count(*) AS orders, sum(amount) AS amount FROM shop.orders"
            " WHERE created_at >= timestamptz '2024-03-01 00:00Z'"
            " AND created_at < timestamptz '2024-06-01 00:00Z' GROUP BY currency"
        )
    finally:
        await connection.close()
    return {row["currency"]: (row["orders"], row["amount"]) for row in rows}


def sums(rows: Iterable[dict[str, Any]]) -> Sums:
    totals: Sums = defaultdict(lambda: (0, Decimal(0)))
    for row in rows:
        count, amount = totals[row["currency"]]
        totals[row["currency"]] = (count + 1, amount + Decimal(row["amount"]))
    return dict(totals)


async def fetch(installation: Installation, job: Job, media_type: str) -> bytes:
    """Download a report that has to be the file that its job and the headers tell of."""
    response = await installation.client.download(job.download_url)
    assert response.status_code == httpx.codes.OK, response.text
    assert response.headers["content-type"].partition(";")[0] == media_type
    digest = hashlib.sha256(response.content).digest()
    assert response.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    assert response.headers["etag"] == f'"{digest.hex()}"'
    assert job.byte_count == len(response.content)
    assert f".{job.format}".lower() in response.headers["content-disposition"]
    return response.content


async def test_csv_report_holds_exactly_what_sql_says(installation: Installation) -> None:
    job = await complete(installation, "ORDERS_DETAIL", format="CSV")

    content = await fetch(installation, job, "text/csv")
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert job.row_count == len(rows)
    assert sums(rows) == await sums_in_source(installation)


async def test_json_report_holds_exactly_what_sql_says(installation: Installation) -> None:
    job = await complete(installation, "ORDERS_DETAIL", format="JSON")

    content = await fetch(installation, job, "application/json")
    rows = json.loads(content, parse_float=Decimal)
    assert job.row_count == len(rows)
    assert sums(rows) == await sums_in_source(installation)


async def test_pdf_report_can_be_sent_on(installation: Installation) -> None:
    job = await complete(installation, "ORDERS_SUMMARY", format="PDF")

    content = await fetch(installation, job, "application/pdf")
    pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages]
    assert len(pages) > 1
    assert "Orders summary" in pages[0]
    for number, page in enumerate(pages, start=1):
        assert "1 March 2024" in page
        assert "31 May 2024" in page
        assert "Currency" in page
        assert f"Page {number} of {len(pages)}" in page


@pytest.mark.parametrize(
    ("report_format", "media_type"),
    [("CSV", "text/csv"), ("JSON", "application/json"), ("PDF", "application/pdf")],
)
async def test_report_without_rows_is_completed(
    installation: Installation, report_format: str, media_type: str
) -> None:
    dates = {"fromDate": "2030-01-01", "toDate": "2030-01-31"}
    job = await complete(installation, "ORDERS_DETAIL", format=report_format, dateRange=dates)

    await fetch(installation, job, media_type)
    assert job.row_count == 0


async def test_link_with_a_changed_signature_is_forbidden(installation: Installation) -> None:
    job = await complete(installation, "ORDERS_SUMMARY")
    start, marker, signature = str(job.download_url).partition("sig=")
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    changed = start + marker + signature[:middle] + other + signature[middle + 1 :]

    response = await installation.client.download(changed)

    assert_problem(response, httpx.codes.FORBIDDEN, "link-invalid")


async def test_link_past_its_time_is_gone(installation: Installation) -> None:
    job = await complete(installation, "ORDERS_SUMMARY")
    links = DownloadLinks(installation.stack.gateway_url, installation.keys.links, utc_now)
    assert links.url(job.job_id, job.expires_at) == job.download_url

    past = links.url(job.job_id, utc_now() - timedelta(seconds=1))
    response = await installation.client.download(past)

    assert_problem(response, httpx.codes.GONE, "link-expired")


async def test_job_past_its_retention_is_gone(installation: Installation) -> None:
    a_while_ago = JobIds(installation.keys.job_ids, lambda: utc_now() - timedelta(days=8))

    response = await installation.client.look_up(a_while_ago.new(TENANT))

    assert_problem(response, httpx.codes.GONE, "job-expired")


async def test_forged_id_is_not_found(installation: Installation) -> None:
    accepted = await installation.client.submit(request("ORDERS_SUMMARY"))
    changed = accepted.job_id[:-1] + ("1" if accepted.job_id[-1] == "0" else "0")
    signed_by_others = JobIds(installation.keys.links, utc_now).new(TENANT)

    for job_id in (changed, signed_by_others, "job_12345"):
        response = await installation.client.look_up(job_id)
        assert_problem(response, httpx.codes.NOT_FOUND, "job-not-found")


async def test_query_that_the_source_refuses_fails_at_once(installation: Installation) -> None:
    job = await fail(installation, BROKEN_QUERY)

    assert job.error_code == "REPORT_GENERATION_FAILED"
    assert job.retryable is False
    assert_is_for_people(job.error_message)
    assert await attempts_of(installation, job) == 1


async def test_source_that_is_away_is_tried_again_and_then_given_up(
    installation: Installation,
) -> None:
    job = await fail(installation, SOURCE_AWAY)

    assert job.error_code == "REPORT_GENERATION_FAILED"
    assert job.error_message == "Downstream data source unavailable."
    assert job.retryable is True
    assert await attempts_of(installation, job) == MAX_FAILURES


async def test_report_type_that_the_worker_does_not_know_is_rejected(
    installation: Installation,
) -> None:
    job = await fail(installation, KNOWN_TO_GATEWAY)

    assert job.error_code == "REQUEST_REJECTED"
    assert_is_for_people(job.error_message)


async def test_logs_tell_no_secrets(installation: Installation) -> None:
    job = await fail(installation, SOURCE_AWAY)

    logs = "".join(installation.stack.log(service) for service in installation.stack.processes)
    assert job.job_id in logs
    for secret in (*installation.keys.secrets, SOURCE_PASSWORD):
        assert secret not in logs


@asynccontextmanager
async def closed_gates(installation: Installation) -> AsyncIterator[asyncpg.Connection]:
    """Hold up the steady report until its gates are opened, one after the other."""
    connection = await asyncpg.connect(installation.stack.database.admin)
    try:
        for gate in STEADY_GATES:
            await connection.execute("SELECT pg_advisory_lock($1)", gate)
        yield connection
    finally:
        await connection.close()


async def test_a_running_job_shows_how_far_it_has_come(installation: Installation) -> None:
    counted: list[JobProgress] = []

    async def is_shown_beyond(rows: int) -> bool:
        job = await installation.client.get(accepted.job_id)
        assert job.status not in ENDED
        assert job.progress is None or job.status == "RUNNING"
        # The planner is asked for the number of all rows once a report has taken a while.
        if job.progress is None or not job.progress.percent:
            return False
        counted.append(job.progress)
        return (job.progress.rows_processed or 0) > rows

    async with closed_gates(installation) as gates:
        accepted = await installation.client.submit(request(STEADY_REPORT))
        for opened, gate in pairwise((0, *STEADY_GATES)):
            await poll_until(partial(is_shown_beyond, opened), seconds=SECONDS)
            await gates.execute("SELECT pg_advisory_unlock($1)", gate)

    job = await installation.client.wait_until_status(accepted.job_id)
    assert (job.status, job.row_count, job.progress) == ("COMPLETED", 300, None)
    assert {one.phase for one in counted} == {"query"}
    for before, after in pairwise(counted):
        assert (after.rows_processed or 0) >= (before.rows_processed or 0)
        assert (after.percent or 0) >= (before.percent or 0)
    assert (counted[-1].rows_processed or 0) < STEADY_GATES[-1]
