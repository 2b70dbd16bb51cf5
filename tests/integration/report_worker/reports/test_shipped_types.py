"""The shipped report types on a source with data, in all formats and with the rates service."""

import csv
import io
import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal

import asyncpg
import httpx
import pytest

from local_stack.paths import CATALOGUE
from local_stack.rates import rates_app
from local_stack.source_data import create_tables
from report_worker.reports import ReportError
from shared.catalogue import ReportType, load_catalogue
from shared.report_request import ReportFormat
from tests.integration.report_worker.reports.conftest import Make
from tests.support.http_servers import serving
from tests.support.servers import DatabaseUrls

TYPES = {report_type.name: report_type for report_type in load_catalogue(CATALOGUE)}
JANUARY_2 = datetime(2024, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
async def shop(database: DatabaseUrls, admin: asyncpg.Connection) -> None:
    """Two customers, and orders of one day in two currencies."""
    await create_tables(database.admin)
    await admin.executemany(
        "INSERT INTO shop.customers VALUES ($1, $2, $3, 'FR', NULL, $4)",
        [
            ("C1", "Zoé", "=zoe@example.com", JANUARY_2),
            ("C2", "Ann", None, datetime(2023, 1, 1, tzinfo=UTC)),
        ],
    )
    await admin.executemany(
        "INSERT INTO shop.orders (order_id, customer_id, created_at, amount, status, currency)"
        " VALUES ($1, 'C1', $2, $3, $4, $5)",
        [
            ("A-1", JANUARY_2, Decimal("10.00"), "PAID", "EUR"),
            ("A-2", JANUARY_2, Decimal("100.00"), None, "USD"),
            ("A-3", JANUARY_2, Decimal("999.00"), "CANCELLED", "USD"),
        ],
    )


@pytest.fixture
async def rates(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The rates service, which fails every second time."""
    app = rates_app({"RATES_LATENCY": "0", "RATES_FAILURES": "0.5"}, random.Random(3))
    async with serving(app) as url:
        monkeypatch.setenv("SALES_ANALYTICS_RATES_URL", url)
        monkeypatch.setenv("SALES_ANALYTICS_RATES_TRIES", "50")
        monkeypatch.setenv("SALES_ANALYTICS_RATES_BACKOFF_FIRST", "0.001")
        yield url


@pytest.mark.parametrize("report_type", TYPES.values(), ids=TYPES)
async def test_every_shipped_type_is_made_in_every_format_it_offers(
    make: Make, shop: None, rates: str, report_type: ReportType
) -> None:
    assert report_type.formats == tuple(ReportFormat)
    rows = {
        (await make(report_type, file_format)).report.rows for file_format in report_type.formats
    }
    assert len(rows) == 1
    assert rows != {0}


async def test_all_that_is_known_of_a_customer_is_exported(make: Make, shop: None) -> None:
    made = await make(TYPES["CUSTOMERS_EXPORT"], country="FR")
    assert made.content.decode() == (
        "customer_id,name,email,country,segment,created_at\r\n"
        "C1,Zoé,'=zoe@example.com,FR,,2024-01-02 12:00:00+00\r\n"
    )


async def test_sales_are_converted_at_the_rates_of_the_other_system(
    make: Make, shop: None, rates: str
) -> None:
    async with httpx.AsyncClient(base_url=rates) as client:
        answer = httpx.Response(503)
        while answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            answer = await client.get("rates", params={"month": "2024-01", "base": "EUR"})
    dollars = Decimal(answer.json()["days"]["2024-01-02"]["USD"])
    revenue = f"{Decimal(10) + Decimal(100) / dollars:.2f}"

    made = await make(TYPES["SALES_ANALYTICS"])

    rows = list(csv.DictReader(io.StringIO(made.content.decode())))
    assert [row["day"] for row in rows] == [str(date(2024, 1, day)) for day in range(1, 32)]
    second = rows[1]
    assert (second["currency"], second["orders"], second["revenue"]) == ("EUR", "2", revenue)
    assert rows[0]["average_order"] == ""
    assert rows[7]["revenue_7_days"] == revenue
    assert rows[8]["revenue_7_days"] == "0.00"


@pytest.mark.parametrize(
    ("url", "code", "transient"),
    [
        ("http://127.0.0.1:1/", "RATES_UNAVAILABLE", True),
        ("", "REPORT_GENERATION_FAILED", False),
    ],
)
async def test_sales_analytics_without_its_other_system_says_so(
    make: Make, shop: None, monkeypatch: pytest.MonkeyPatch, url: str, code: str, transient: bool
) -> None:
    monkeypatch.setenv("SALES_ANALYTICS_RATES_URL", url)
    monkeypatch.setenv("SALES_ANALYTICS_RATES_TRIES", "2")
    with pytest.raises(ReportError) as failed:
        await make(TYPES["SALES_ANALYTICS"])
    assert (failed.value.code, failed.value.transient) == (code, transient)
    assert "127.0.0.1" not in failed.value.message
