"""What a report plugin is given and what it gives: the whole of its interface with the worker.

A plugin makes the rows of a report in Python: from several queries, from other systems, by
computation. A distribution that is installed beside the worker offers it as an entry point:

    [project.entry-points."report_jobs.reports"]
    sales-analytics = "sales_analytics:plugin"

and a report type of the catalogue names it in the place of SQL (`plugin: sales-analytics`). The
entry point is a `ReportPlugin`. Its rows function is an async generator:

    class Parameters(BaseModel):
        currency: str = "EUR"

    async def rows(report: Report[Parameters]) -> AsyncGenerator[Sequence[Row], None]:
        report.phase("query", until=50)
        orders = await report.source("orders").rows(
            "SELECT created_at, amount FROM shop.orders WHERE created_at >= :first",
            first=report.from_date,
        )
        report.phase("aggregate")
        yield [(day, total) for day, total in await report.in_thread(aggregate, orders)]

    plugin = ReportPlugin(rows, columns=("day", "total"), parameters=Parameters)

It runs in a child process of the worker, one report at a time, and writes no file: the worker turns
the rows into whichever format was asked for. When the report is cancelled or takes too long, the
generator is cancelled as any asyncio task is; a child that hasn't stopped a second later is
killed. A generator may therefore hold nothing that outlives its process.
"""

import asyncio
import operator
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, final

from pydantic import BaseModel

__all__ = [
    "ENTRY_POINTS",
    "NoParameters",
    "PermanentError",
    "PluginError",
    "Progress",
    "Report",
    "ReportCancelled",
    "ReportPlugin",
    "Row",
    "Source",
    "TransientError",
    "Value",
]

ENTRY_POINTS: Final = "report_jobs.reports"
"""The group of entry points that plugins are found in."""

Value = str | int | Decimal | date | datetime | bool | None
"""What a cell of a report may hold; None is an empty cell. Never a float: its digits aren't those
that were meant."""

Row = Sequence[Value]
"""A value for each of the report type's columns, in their order."""

_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,49}")
_LONGEST_PHASE: Final = 50
_MOST_ROWS: Final = 2**63 - 1
_P = TypeVar("_P")
_T = TypeVar("_T")
_Args = ParamSpec("_Args")


class PluginError(Exception):
    """A report that can't be made; raise one of the two below.

    `message` is shown to whoever asked for the report, so it names neither addresses nor secrets;
    the error that it is raised from goes to the log. It is cut after 2,000 characters. `code` is
    the job's `errorCode`.
    """

    is_transient: bool

    def __init__(self, message: str, *, code: str = "REPORT_GENERATION_FAILED") -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"{code!r} is no error code such as RATES_UNAVAILABLE")
        super().__init__(message)
        self.message = message
        self.code = code


class TransientError(PluginError):
    """May be gone at another attempt: the run is attempted again, with growing waits."""

    is_transient = True


class PermanentError(PluginError):
    """Would happen again: the run ends as FAILED."""

    is_transient = False


class ReportCancelled(BaseException):
    """The report was cancelled; let it out of the function that runs in a thread.

    It is no `Exception`, so that none that is caught there stops it.
    """


class NoParameters(BaseModel):
    """The parameters of a plugin that takes none."""


class Source(Protocol):
    """A database of the report type's `sources`, read-only.

    All queries of one report see one snapshot: the state at the first of them. SQL names its values
    as `:name`, which are bound, never pasted: `rows("SELECT ... WHERE day >= :first", first=day)`.
    A bool, int, Decimal, str, date or datetime is bound as such, a list of them as an array. A
    query that fails or takes longer than the type's `limits.statement_timeout` ends the report with
    a fitting error.
    """

    async def rows(self, sql: str, /, **values: Any) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows, which have to fit into memory."""

    def batches(
        self, sql: str, /, *, size: int = 1000, **values: Any
    ) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Run a query and give its rows as they are read, at most `size` at a time."""


class Progress(Protocol):
    """Where a report's progress goes."""

    def phase(self, name: str, *, rows_total: int | None = None, until: int = 99) -> None:
        """Begin a phase."""

    def rows(self, processed: int) -> None:
        """Count the phase's rows."""


@final
class Report(Generic[_P]):
    """One report to make: what was asked for, where the data is, and whom to tell.

    Tests of a plugin make one with sources of their own; only `parameters` and the dates are
    needed.
    """

    def __init__(
        self,
        *,
        parameters: _P,
        from_date: date,
        to_date: date,
        sources: Mapping[str, Source] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.parameters = parameters
        """The request's parameters, validated twice: by the report type's JSON Schema, and as the
        plugin's own type."""
        self.from_date = from_date
        """The first day of the report, in UTC."""
        self.to_date = to_date
        """The last day, which belongs to the report."""
        self._sources = sources or {}
        self._progress = progress
        self._is_cancelled = threading.Event()

    def source(self, name: str) -> Source:
        """Return a data source that the report type names. Nothing is connected before a query.

        Raises:
            LookupError: where the report type doesn't name it.

        """
        try:
            return self._sources[name]
        except KeyError:
            raise LookupError(f"the report type names no source {name!r}") from None

    def phase(self, name: str, *, until: int = 99, rows_total: int | None = None) -> None:
        """Say what begins now, in a word such as `query`, for those who watch the job.

        `until` is the percentage at which the phase ends; it begins where the last one ended. With
        `rows_total` and `rows` the percentage also moves in between. May be called often, and from
        threads.

        Raises:
            ValueError: for a name that isn't of 1 to 50 printable characters, and for less than no
                rows.

        """
        if not (1 <= len(name) <= _LONGEST_PHASE and name.isprintable()):
            raise ValueError(f"{name[:_LONGEST_PHASE]!r} is no phase such as query")
        total = None if rows_total is None else _count(rows_total)
        if self._progress is not None:
            self._progress.phase(name, rows_total=total, until=operator.index(until))

    def rows(self, processed: int) -> None:
        """Say how many rows the phase has processed so far. May be called often.

        Raises:
            ValueError: for less than none.

        """
        counted = _count(processed)
        if self._progress is not None:
            self._progress.rows(counted)

    async def in_thread(
        self, function: Callable[_Args, _T], /, *args: _Args.args, **kwargs: _Args.kwargs
    ) -> _T:
        """Run what computes or blocks for long in a thread, so that a cancellation is heard.

        Nothing can stop a thread from outside: `function` calls `check_cancelled` now and then.
        """
        running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._is_cancelled.set()
            await asyncio.wait((running,))
            if not running.cancelled():
                running.exception()  # the cancellation is what counts
            raise

    def check_cancelled(self) -> None:
        """Return while the report is wanted; call it in functions that run in a thread.

        Raises:
            ReportCancelled: when the report has been cancelled.

        """
        if self._is_cancelled.is_set():
            raise ReportCancelled


def _count(rows: int) -> int:
    """Rows as an `int`, whichever library counted them."""
    counted = operator.index(rows)
    if not 0 <= counted <= _MOST_ROWS:
        raise ValueError(f"{counted} is no number of rows")
    return counted


@dataclass(frozen=True, slots=True)
class ReportPlugin(Generic[_P]):
    """What an entry point names. The worker holds it against the report type when it starts."""

    rows: Callable[[Report[_P]], AsyncGenerator[Sequence[Row], None]]
    """Yields batches of rows, of any size; no more than a few thousand are held at a time."""
    columns: tuple[str, ...]
    """The names of the values in each row; the report type declares the same, in this order."""
    parameters: type[_P] = NoParameters  # type: ignore[assignment]
    """A pydantic model or a dataclass. The report type's JSON Schema, which clients and the gateway
    see, has to admit nothing that this refuses."""
    sources: tuple[str, ...] = ()
    """Data sources that it reads; the report type names them too."""

    def __post_init__(self) -> None:
        names: tuple[object, ...] = (self.columns, self.sources)
        if any(isinstance(one, str) for one in names):
            raise TypeError("columns and sources are tuples of names: ('total',) is one")
