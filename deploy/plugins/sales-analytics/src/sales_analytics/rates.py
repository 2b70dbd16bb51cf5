"""Exchange rates from another system over HTTP, which may be slow, busy or away."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from typing import Final

import httpx
from pydantic import BaseModel, ValidationError

from report_worker.plugins import PermanentError, TransientError
from sales_analytics.settings import RatesSettings

_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500

Rates = Mapping[date, Mapping[str, Decimal]]
"""What one unit of the base currency is worth in others, by day."""


class MonthOfRates(BaseModel):
    """The answer to `GET /rates?month=2024-01&base=EUR`; rates are decimal strings."""

    base: str
    days: dict[date, dict[str, Decimal]]


class RatesClient:
    """Asks for a month at a time; open it with `open_rates`."""

    def __init__(self, client: httpx.AsyncClient, settings: RatesSettings) -> None:
        self._client = client
        self._settings = settings
        self._turns = asyncio.Semaphore(settings.concurrency)

    async def month(self, first_day: date, base: str) -> Rates:
        """Return the rates of the month in which the day is.

        Raises `TransientError` when the system doesn't give them however often it is asked, and
        `PermanentError` when it never will.
        """
        async with self._turns:
            cause: Exception | None = None
            for retry in range(self._settings.tries):
                if retry:
                    await asyncio.sleep(self._wait(retry, cause))
                try:
                    return await self._ask(first_day, base)
                except (httpx.TransportError, TimeoutError, _BusyError) as error:
                    cause = error
            raise TransientError(
                "The exchange rates can't be had at the moment.", code="RATES_UNAVAILABLE"
            ) from cause

    async def _ask(self, first_day: date, base: str) -> Rates:
        # httpx limits each step of a request; an answer that trickles in never exceeds those.
        async with asyncio.timeout(self._settings.timeout):
            answer = await self._client.get(
                "rates", params={"month": f"{first_day:%Y-%m}", "base": base}
            )
        if answer.status_code == _TOO_MANY_REQUESTS or answer.status_code >= _SERVER_ERROR:
            raise _BusyError(answer)
        try:
            return MonthOfRates.model_validate_json(answer.raise_for_status().content).days
        except (httpx.HTTPStatusError, ValidationError) as error:
            raise PermanentError(
                f"There are no exchange rates for {base} in {first_day:%B %Y}.",
                code="RATES_REFUSED",
            ) from error

    def _wait(self, retry: int, cause: Exception | None) -> float:
        """Seconds before the next try: what the system asks for, else growing, with jitter."""
        longest = self._settings.backoff_longest
        asked = cause.retry_after if isinstance(cause, _BusyError) else 0.0
        ceiling = min(self._settings.backoff_first * 2 ** (retry - 1), longest)
        return min(max(asked, random.uniform(ceiling / 2, ceiling)), longest)  # noqa: S311 - jitter


class _BusyError(Exception):
    """The system answers that it can't answer now."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"status {answer.status_code}")
        seconds = answer.headers.get("retry-after", "")
        self.retry_after = float(seconds) if seconds.isdecimal() else 0.0


@asynccontextmanager
async def open_rates(settings: RatesSettings) -> AsyncIterator[RatesClient]:
    """Open a client, and close its connections in the end."""
    async with httpx.AsyncClient(
        base_url=str(settings.url),
        timeout=settings.timeout,
        trust_env=False,  # the settings alone say where the rates are
    ) as client:
        yield RatesClient(client, settings)


def months(first: date, last: date) -> Sequence[date]:
    """Return the first day of each month from one day to another."""
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    return [
        date(first.year + (first.month - 1 + more) // 12, (first.month - 1 + more) % 12 + 1, 1)
        for more in range(count)
    ]
