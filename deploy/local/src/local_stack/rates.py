"""Another system for reports to ask: exchange rates over HTTP, now slow, now busy, as others are.

`python -m local_stack.rates PORT`; `RATES_LATENCY` (seconds, `0.05-0.4`) and `RATES_FAILURES` (a
share of the requests, `0.15`) say how slow and how busy. The rates are made up, and always the
same.
"""

import asyncio
import math
import os
import random
import sys
from calendar import monthrange
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local_stack.child import ProcessSpec
from local_stack.errors import SetupError
from local_stack.paths import StackDirectory
from local_stack.ports import LOOPBACK

NAME: Final = "rates"
_PER_EURO: Final = {"EUR": 1.0, "USD": 1.08, "GBP": 0.86, "JPY": 157.0}
_DIGITS: Final = Decimal("0.000001")
_SWING: Final = 0.03


def rates_spec(port: int, directory: StackDirectory, environment: Mapping[str, str]) -> ProcessSpec:
    """Return how the system is started.

    Raises:
        SetupError: where `RATES_LATENCY` or `RATES_FAILURES` can't be read.

    """
    _latency(environment)
    _failures(environment)
    return ProcessSpec(
        name=NAME,
        command=(sys.executable, "-P", "-m", "local_stack.rates", str(port)),
        log=directory.log(NAME),
        environment=environment,
        directory=directory.root,
    )


def rates_app(environment: Mapping[str, str], draw: random.Random) -> Starlette:
    """Serve `GET /rates?month=2024-01&base=EUR`, and `GET /readyz`."""
    fastest, slowest = _latency(environment)
    failures = _failures(environment)

    async def rates(request: Request) -> Response:
        await asyncio.sleep(draw.uniform(fastest, slowest))
        if draw.random() < failures:
            return Response("busy\n", status_code=503)
        base = request.query_params.get("base", "")
        try:
            first = date.fromisoformat(request.query_params.get("month", "") + "-01")
        except ValueError:
            return Response("month is written as 2024-01\n", status_code=422)
        if base not in _PER_EURO:
            return Response(f"no rates for {base!r}\n", status_code=404)
        days = (
            first.replace(day=1 + more) for more in range(monthrange(*first.timetuple()[:2])[1])
        )
        return JSONResponse({"base": base, "days": {str(day): _rates(day, base) for day in days}})

    async def ready(_request: Request) -> Response:
        return Response()

    return Starlette(routes=[Route("/rates", rates), Route("/readyz", ready)])


def _rates(day: date, base: str) -> dict[str, str]:
    """What one unit of the base is worth in the other currencies on a day."""
    worth = {
        currency: Decimal(rate * (1 + _SWING * math.sin(day.toordinal() / 40 + index)))
        for index, (currency, rate) in enumerate(_PER_EURO.items())
    }
    return {
        currency: str((rate / worth[base]).quantize(_DIGITS))
        for currency, rate in worth.items()
        if currency != base
    }


def _latency(environment: Mapping[str, str]) -> tuple[float, float]:
    text = environment.get("RATES_LATENCY", "0.05-0.4")
    fastest, _, slowest = text.partition("-")
    try:
        return float(fastest), float(slowest or fastest)
    except ValueError:
        raise SetupError(f"RATES_LATENCY={text} isn't seconds such as 0.05-0.4") from None


def _failures(environment: Mapping[str, str]) -> float:
    text = environment.get("RATES_FAILURES", "0.15")
    try:
        return float(text)
    except ValueError:
        raise SetupError(f"RATES_FAILURES={text} isn't a share such as 0.15") from None


def main() -> None:
    """Serve until SIGTERM."""
    app = rates_app(os.environ, random.Random())  # noqa: S311 - no secret
    uvicorn.run(app, host=LOOPBACK, port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
