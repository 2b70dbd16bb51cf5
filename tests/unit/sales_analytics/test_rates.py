"""Asking the rates service, which answers late, refuses, or isn't there."""

import random
from datetime import date
from decimal import Decimal

import pytest

from local_stack.rates import rates_app
from report_worker.plugins import PermanentError, TransientError
from sales_analytics.rates import months, open_rates
from sales_analytics.settings import RatesSettings
from tests.support.http_servers import serving

JANUARY = date(2024, 1, 1)


def settings(url: str, **changes: float) -> RatesSettings:
    return RatesSettings.model_validate(
        {"url": url, "backoff_first": 0.001, "backoff_longest": 0.01, **changes}
    )


async def test_a_month_of_rates_comes_from_a_service_that_fails_half_the_time() -> None:
    app = rates_app({"RATES_LATENCY": "0-0.01", "RATES_FAILURES": "0.5"}, random.Random(1))
    async with serving(app) as url, open_rates(settings(url, tries=50)) as rates:
        for _ in range(5):
            january = await rates.month(JANUARY, "EUR")
            assert len(january) == 31
            assert Decimal(1) < january[JANUARY]["USD"] < Decimal("1.2")
            assert january == await rates.month(JANUARY, "EUR")
        assert "EUR" in (await rates.month(JANUARY, "USD"))[JANUARY]


@pytest.mark.parametrize(
    "environment",
    [
        {"RATES_LATENCY": "0", "RATES_FAILURES": "1"},
        {"RATES_LATENCY": "60", "RATES_FAILURES": "0"},
    ],
)
async def test_a_service_that_stays_busy_or_silent_is_transient(
    environment: dict[str, str],
) -> None:
    app = rates_app(environment, random.Random(1))
    async with serving(app) as url, open_rates(settings(url, tries=2, timeout=0.2)) as rates:
        with pytest.raises(TransientError) as failed:
            await rates.month(JANUARY, "EUR")
    assert failed.value.code == "RATES_UNAVAILABLE"
    assert "127.0.0.1" not in failed.value.message


async def test_a_service_that_is_away_is_transient() -> None:
    async with open_rates(settings("http://127.0.0.1:1/", tries=2)) as rates:
        with pytest.raises(TransientError):
            await rates.month(JANUARY, "EUR")


async def test_a_currency_that_the_service_doesn_t_know_is_permanent() -> None:
    app = rates_app({"RATES_LATENCY": "0", "RATES_FAILURES": "0"}, random.Random(1))
    async with serving(app) as url, open_rates(settings(url)) as rates:
        with pytest.raises(PermanentError) as failed:
            await rates.month(JANUARY, "XXX")
    assert failed.value.message == "There are no exchange rates for XXX in January 2024."


def test_months_go_from_the_first_day_to_the_last() -> None:
    assert months(date(2023, 11, 30), date(2024, 2, 1)) == [
        date(2023, 11, 1),
        date(2023, 12, 1),
        date(2024, 1, 1),
        date(2024, 2, 1),
    ]
    assert months(JANUARY, JANUARY) == [JANUARY]
