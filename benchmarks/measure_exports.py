r"""Large reports through the whole stack, beside `psql \copy` of the same SELECT."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import asyncpg

from benchmarks.errors import BenchmarkError
from benchmarks.jobs import ACCEPTED
from benchmarks.memory import renew_children, watched_memory
from benchmarks.psql import copy_to_file
from benchmarks.s3 import s3_bucket
from benchmarks.stack import CATALOGUE, NO_OP, Stack
from benchmarks.wire import Client, post
from local_stack.source_data import generate
from report_worker.reports import ProgressReporter, ReportSpec, SourceSessions
from report_worker.reports import generate as generate_report
from shared.catalogue import ReportType, load_catalogue
from shared.clock import utc_now
from shared.report_request import ReportRequest

ROWS: Final = 5_000_000
FEW_ROWS: Final = 50_000
S3_ROWS: Final = 500_000
XLSX_ROWS: Final = 200_000
PDF_ROWS: Final = 10_000
FEW_PDF_ROWS: Final = 1_000

CHILD: Final = "report_worker.execution.child"
"""What the command of a child names."""

_ROUNDS: Final = 3
_CSV_ROUNDS: Final = 11
_JSON_ROUNDS: Final = 5
_GENERATED: Final = 100_000
_JOB_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.02
_TYPE: Final = "MANY_ORDERS"
_PATH: Final = "export"
_FILL: Final = f"""
CREATE UNLOGGED TABLE shop.many_orders AS
SELECT row_number() OVER () AS number, order_id || '-' || copy AS order_id, customer_id, created_at,
       amount, status, currency, channel, region, note
FROM generate_series(1, {ROWS // _GENERATED}) AS copy, shop.orders;
CREATE INDEX ON shop.many_orders (number);  -- else a small export is mostly a scan of all rows
GRANT SELECT ON shop.many_orders TO report_source
"""  # noqa: S608 - made of constants
_STATUS: Final = "SELECT status, error_message FROM read_model.jobs WHERE job_id = $1"


@dataclass(frozen=True, slots=True)
class Round:
    r"""Seconds of an export from its POST to COMPLETED, and the mean of the `\copy`s around it."""

    export: float
    psql: float

    @property
    def ratio(self) -> float:
        """How many rows it gave in the time in which psql gave one."""
        return self.psql / self.export


@dataclass(frozen=True, slots=True)
class BesidePsql:
    """The round whose ratio is the median, and the ratios of all rounds, the least first."""

    median: Round
    ratios: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ToS3:
    """Seconds of an export to an S3 server, and of putting its finished file there."""

    export: float
    put: float


@dataclass(frozen=True, slots=True)
class Growth:
    """The worker's memory in MiB for few rows and for many, each made by a child that is new."""

    rows: int
    few_rows: int
    few: float
    many: float


@dataclass(frozen=True, slots=True)
class Exports:
    """Exports beside psql; of the others the seconds, at the median where there were several."""

    rows: int
    csv: BesidePsql
    json: BesidePsql
    ndjson: BesidePsql
    xlsx: float
    pdf: float
    csv_to_s3: ToS3
    growth: dict[str, Growth]
    """By format."""


async def measure_exports(stack: Stack) -> Exports:
    """Make the orders, and export them again and again."""
    connection = await asyncpg.connect(stack.database)
    try:
        await generate(stack.database, orders=_GENERATED)
        await connection.execute(_FILL)
        await connection.execute("VACUUM ANALYZE shop.many_orders")
        return await _Exporter(stack, connection).measure()
    finally:
        await connection.execute("DROP TABLE IF EXISTS shop.many_orders")
        await connection.execute("CHECKPOINT")  # else it's written while the next is measured
        await connection.close()


class _Exporter:
    def __init__(self, stack: Stack, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._stack = stack
        self._connection = connection

    async def measure(self) -> Exports:
        for file_format in ("CSV", "JSON", "XLSX", "PDF"):
            await self._export(file_format, PDF_ROWS)  # the first one fills caches and loads fonts
        plain, as_json = _selects()
        (csv,) = await self._beside_psql(plain, "CSV", rounds=_CSV_ROUNDS)
        json, ndjson = await self._beside_psql(as_json, "JSON", "NDJSON", rounds=_JSON_ROUNDS)
        return Exports(
            rows=ROWS,
            csv=csv,
            json=json,
            ndjson=ndjson,
            xlsx=await self._export("XLSX", XLSX_ROWS),
            pdf=median([await self._export("PDF", PDF_ROWS) for _ in range(_ROUNDS)]),
            csv_to_s3=await self._csv_to_s3(),
            growth={
                "CSV": await self._growth("CSV", FEW_ROWS, ROWS),
                "JSON": await self._growth("JSON", FEW_ROWS, ROWS),
                "XLSX": await self._growth("XLSX", FEW_ROWS, XLSX_ROWS),
                "PDF": await self._growth("PDF", FEW_PDF_ROWS, PDF_ROWS),
            },
        )

    async def _beside_psql(self, select: str, *formats: str, rounds: int) -> list[BesidePsql]:
        """Export again and again, with psql before and after: the machine's pace changes."""
        made: list[list[Round]] = []
        before = await self._copy(select)
        for _ in range(rounds):
            exports = [await self._export(file_format, ROWS) for file_format in formats]
            after = await self._copy(select)
            made.append([Round(export, (before + after) / 2) for export in exports])
            before = after
        return [_beside_psql(of_one) for of_one in zip(*made, strict=True)]

    async def _csv_to_s3(self) -> ToS3:
        """Do here what a child does: the stack's own store is a folder."""
        request = ReportRequest.model_validate(_request("CSV", S3_ROWS))
        spec = ReportSpec(_report_type(), request, utc_now())
        sources = SourceSessions({"orders": self._stack.database})
        exports, puts = [], []
        async with s3_bucket(self._stack.s3_port) as store:
            for _ in range(_ROUNDS):
                began = time.perf_counter()
                await generate_report(
                    spec, sources=sources, store=store, path=_PATH, progress=ProgressReporter()
                )
                exports.append(time.perf_counter() - began)
                content = await (await store.get_async(_PATH)).bytes_async()
                began = time.perf_counter()
                await store.put_async(_PATH, content)
                puts.append(time.perf_counter() - began)
                await store.delete_async(_PATH)
        await sources.close()
        return ToS3(median(exports), median(puts))

    async def _growth(self, file_format: str, few_rows: int, rows: int) -> Growth:
        """Compare memory without what a child keeps of the reports that it has made before."""
        worker, peaks = self._stack.pids["report-worker"], []
        for number in (few_rows, rows):
            await renew_children(worker, CHILD)
            async with watched_memory(worker) as peak:
                await self._export(file_format, number)
            peaks.append(peak.mib)
        return Growth(rows, few_rows, *peaks)

    async def _copy(self, select: str) -> float:
        path = self._stack.directory.root / "psql.out"
        try:
            return await copy_to_file(self._stack.database, select, path)
        finally:
            path.unlink(missing_ok=True)

    async def _export(self, file_format: str, rows: int) -> float:
        # A new connection: the gateway closes one that is quiet for as long as psql may take.
        client = await Client.connect(self._stack.gateway_port)
        began = time.perf_counter()
        answer = await client.ask(post("/generate-report", _request(file_format, rows)))
        client.close()
        if answer.status != ACCEPTED:
            raise BenchmarkError(f"the gateway refused an export: {answer.body.decode()}")
        await self._wait_for(answer.json()["jobId"])
        seconds = time.perf_counter() - began
        # The next one needs the room.
        for folder in self._stack.directory.artifacts.iterdir():
            shutil.rmtree(folder)
        return seconds

    async def _wait_for(self, job_id: str) -> None:
        deadline = time.perf_counter() + _JOB_SECONDS
        while time.perf_counter() < deadline:
            row = await self._connection.fetchrow(_STATUS, job_id)
            if row is not None and row["status"] == "COMPLETED":
                return
            if row is not None and row["status"] == "FAILED":
                raise BenchmarkError(f"an export failed: {row['error_message']}")
            await asyncio.sleep(_POLL_SECONDS)
        raise BenchmarkError(f"an export took longer than {_JOB_SECONDS:.0f} s")


def _beside_psql(rounds: Sequence[Round]) -> BesidePsql:
    in_order = sorted(rounds, key=lambda one: one.ratio)
    return BesidePsql(in_order[len(in_order) // 2], tuple(one.ratio for one in in_order))


def _report_type() -> ReportType:
    report_type = load_catalogue(CATALOGUE).get(_TYPE)
    if report_type is None:
        raise BenchmarkError(f"the catalogue has no {_TYPE}")
    return report_type


def _request(file_format: str, rows: int) -> dict[str, Any]:
    return NO_OP | {"reportType": _TYPE, "format": file_format, "parameters": {"rows": rows}}


def _selects() -> tuple[str, str]:
    """The type's SELECT as it is, and as JSON objects."""
    query = _report_type().query.render({"rows": str(ROWS)})
    return query, f"SELECT row_to_json(o) FROM ({query}) AS o"  # noqa: S608 - ours
