"""The report's steps: query the orders, fetch the rates, convert and sum."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import date
from typing import Final, Literal

from pydantic import BaseModel, ValidationError

from report_worker.plugins import PermanentError, Report, ReportPlugin, Row
from sales_analytics.aggregation import Sales, convert, figures
from sales_analytics.rates import Rates, months, open_rates
from sales_analytics.settings import RatesSettings

_ORDERS: Final = """
SELECT (created_at AT TIME ZONE 'UTC')::date AS day, currency, count(*), sum(amount)
FROM shop.orders
WHERE created_at >= :first AND created_at < :last + 1
  AND coalesce(status, '') <> ALL (:excluded)
GROUP BY 1, 2
ORDER BY 1, 2
"""
_EXCLUDED: Final = ["CANCELLED", "REFUNDED"]
_QUERIED, _FETCHED = 30, 90  # percent


class Parameters(BaseModel):
    """What a request may say; the report type's JSON Schema says the same."""

    currency: Literal["EUR", "USD", "GBP", "JPY"] = "EUR"


async def rows(report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
    """Make the report."""
    settings = _settings()
    base = report.parameters.currency
    report.phase("query", until=_QUERIED)
    sales = [
        Sales(*row)
        for row in await report.source("orders").rows(
            _ORDERS, first=report.from_date, last=report.to_date, excluded=_EXCLUDED
        )
    ]
    rates = await _rates(report, settings)
    report.phase("aggregate")
    totals = await report.in_thread(convert, sales, base, rates, report.check_cancelled)
    yield [
        (one.day, base, one.orders, one.revenue, one.average_order, one.revenue_7_days)
        for one in figures(totals, report.from_date, report.to_date)
    ]


def _settings() -> RatesSettings:
    try:
        return RatesSettings()
    except ValidationError as error:
        raise PermanentError(
            "This report isn't set up: its operator finds what is missing in the log."
        ) from error


async def _rates(report: Report[Parameters], settings: RatesSettings) -> Rates:
    """Fetch all months, a few at a time; the first that fails ends the others."""
    wanted = months(report.from_date, report.to_date)
    fetched: list[Rates] = []
    report.phase("rates", until=_QUERIED)
    async with open_rates(settings) as client, asyncio.TaskGroup() as tasks:

        async def fetch(month: date) -> None:
            fetched.append(await client.month(month, report.parameters.currency))
            share = len(fetched) / len(wanted)
            report.phase("rates", until=_QUERIED + int((_FETCHED - _QUERIED) * share))

        for month in wanted:
            tasks.create_task(fetch(month))
    return dict(day for rates in fetched for day in rates.items())


plugin = ReportPlugin(
    rows,
    columns=("day", "currency", "orders", "revenue", "average_order", "revenue_7_days"),
    parameters=Parameters,
    sources=("orders",),
)
