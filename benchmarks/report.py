"""The figures as people read them, and as programs do: ratios first, then the absolute values."""

import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from benchmarks.limits import Limits
from benchmarks.measure_exports import PDF_ROWS, S3_ROWS, XLSX_ROWS, Exports
from benchmarks.measure_http import HttpFigures, Pair, Served
from benchmarks.measure_latency import PER_SECOND, Latency
from benchmarks.measure_listing import Listing
from benchmarks.measure_throughput import Throughput
from benchmarks.samples import Summary
from local_stack.files import write_atomically

_GIB: Final = 2**30
_WIDTHS: Final = (49, 17, 31, 8)


@dataclass(frozen=True, slots=True)
class Machine:
    """What it was measured on, in general terms."""

    cores: int
    memory_gib: int
    processor: str
    python: str


@dataclass(frozen=True, slots=True)
class Row:
    """A figure beside its peer or limit; `better` says whether more or less of it is."""

    figure: str
    value: float
    unit: str
    beside: str
    beside_value: float
    better: str

    @property
    def ratio(self) -> float:
        """The figure as a multiple of what it stands beside."""
        return self.value / self.beside_value


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured in one run; what was left out is None."""

    taken_at: datetime
    machine: Machine
    others: float
    """Cores' worth of time that processes which aren't ours took meanwhile."""
    limits: Limits
    latency: Latency | None
    throughput: Throughput | None
    http: HttpFigures | None
    exports: Exports | None
    listing: Listing | None


_FIGURES: Final = TypeAdapter(Figures)
_ROWS: Final = TypeAdapter(list[dict[str, str | float]])


def this_machine() -> Machine:
    """Describe the machine without naming it."""
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages * page_size / _GIB),
        processor=_processor(),
        python=platform.python_version(),
    )


def rows(figures: Figures) -> list[Row]:
    """Return every figure that has a peer or a limit in the same run."""
    found: list[Row] = []
    if figures.http is not None:
        found += _http_rows(figures.http)
    if figures.throughput is not None:
        found += _throughput_rows(figures.throughput, figures.limits)
    if figures.latency is not None:
        found += _latency_rows(figures.latency)
    if figures.exports is not None:
        found += _export_rows(figures.exports)
    if figures.listing is not None:
        found += _listing_rows(figures.listing)
    return found


def save(path: Path, figures: Figures) -> None:
    """Write everything as JSON."""
    table: list[dict[str, str | float]] = [
        {
            "figure": row.figure,
            "value": row.value,
            "unit": row.unit,
            "beside": row.beside,
            "besideValue": row.beside_value,
            "ratio": row.ratio,
            "better": row.better,
        }
        for row in rows(figures)
    ]
    head = b'{\n"rows": ' + _ROWS.dump_json(table, indent=2)
    text = head + b',\n"measured": ' + _FIGURES.dump_json(figures, indent=2) + b"\n}\n"
    write_atomically(path, text.decode())


def lines(figures: Figures) -> Iterator[str]:
    """Yield the tables line by line."""
    yield _columns("figure", "measured", "beside, in the same run", "ratio")
    for row in rows(figures):
        beside = f"{row.beside} {_number(row.beside_value)} {row.unit}"
        yield _columns(row.figure, f"{_number(row.value)} {row.unit}", beside, f"{row.ratio:.2f}")
    yield from _summaries("raw steps, one after the other (ms)", _limits(figures.limits))
    if figures.latency is not None:
        steps = figures.latency.steps
        at_pace = {"bare POST": steps.bare_post, "bare GET": steps.bare_get}
        title = f"raw steps, at the pace of {PER_SECOND:g} a second (ms)"
        yield from _summaries(title, _limits(steps.limits) | at_pace)
        yield from _summaries("one job, hop by hop (ms)", figures.latency.hops)
        yield f"    {figures.latency.gets_per_job:.1f} GETs per job"
        yield from _shares("share of one core, in percent", figures.latency.busy, 100)
    if figures.throughput is not None:
        yield from _shares("CPU per no-op job (ms)", figures.throughput.cpu_per_job, 1)
        yield f"    {figures.throughput.flushes_per_job:.2f} flushes of PostgreSQL's log per job"
    if figures.exports is not None:
        yield from _export_lines(figures.exports)
    if figures.listing is not None:
        title = f"among {figures.listing.jobs:,} jobs (ms)"
        yield from _summaries(title, _listing_summaries(figures.listing))
    if figures.http is not None:
        yield from _http_lines(figures.http)
        own = figures.http.get.median.bare.load.own_cpu * 100
        yield ""
        yield f"The load generator took up to {own:.0f} % of one core."
    yield ""
    yield f"Other programs took {figures.others * 100:.0f} % of one core meanwhile."


def _http_rows(http: HttpFigures) -> Iterator[Row]:
    get, post, keyed = http.get.median, http.post.median, http.post_with_key.median
    yield from _beside("GET /report-jobs/{id}", get.gateway, get)
    yield from _beside("POST /generate-report", post.gateway, post)
    yield from _beside("POST with an Idempotency-Key", keyed.gateway, keyed)
    yield from _beside("POST, the whole stack at work", http.post_under_work, post)


def _beside(name: str, served: Served, pair: Pair) -> Iterator[Row]:
    ours, peer, bare = served.load, pair.bare.load, "bare route"
    cpu, peer_cpu = served.cpu_per_request, pair.bare.cpu_per_request
    yield Row(name, ours.per_second, "/s", bare, peer.per_second, "more")
    yield Row("    p50", ours.latency.p50, "ms", bare, peer.latency.p50, "less")
    yield Row("    p99", ours.latency.p99, "ms", bare, peer.latency.p99, "less")
    yield Row("    CPU of the server's process", cpu, "ms", bare, peer_cpu, "less")


def _http_lines(http: HttpFigures) -> Iterator[str]:
    yield ""
    beside = {"GET": http.get, "POST": http.post, "POST with a key": http.post_with_key}
    ratios = {name: one.ratios for name, one in beside.items()}
    yield from _spread("ratios to the bare route, of all pairs", ratios)


def _throughput_rows(throughput: Throughput, limits: Limits) -> Iterator[Row]:
    name = f"{throughput.jobs:,} no-op jobs"
    for beside, step in (
        ("durable commits", limits.durable_commit),
        ("acknowledged sends", limits.acknowledged_send),
        ("database sessions", limits.database_session),
    ):
        yield Row(name, throughput.per_second, "/s", beside, 1000 / step.mean, "more")


def _latency_rows(latency: Latency) -> Iterator[Row]:
    name, beside, floor = f"POST to COMPLETED at {PER_SECOND:g}/s", "its steps", latency.steps.floor
    for end, summary in (("as GET sees it", latency.seen), ("in the read model", latency.visible)):
        yield Row(f"{name}, {end}: p50", summary.p50, "ms", beside, floor, "less")
        yield Row("    p99", summary.p99, "ms", beside, floor, "less")


def _export_rows(exports: Exports) -> Iterator[Row]:
    rows = f"{exports.rows / 1e6:g}M orders as"
    for file_format, ours, beside in (
        ("CSV", exports.csv, r"psql \copy"),
        ("JSON", exports.json, r"psql \copy row_to_json"),
        ("NDJSON", exports.ndjson, r"psql \copy row_to_json"),
    ):
        per_second, peer = exports.rows / ours.median.export, exports.rows / ours.median.psql
        yield Row(f"{rows} {file_format}", per_second, "/s", beside, peer, "more")
    to_s3 = exports.csv_to_s3
    per_second, peer = S3_ROWS / to_s3.export, S3_ROWS / to_s3.put
    name = f"{S3_ROWS / 1e6:g}M orders as CSV to S3"
    yield Row(name, per_second, "/s", "put of the finished file", peer, "more")
    for file_format, growth in exports.growth.items():
        name = f"memory of the worker, {growth.rows:,} rows as {file_format}"
        yield Row(name, growth.many, "MiB", f"{growth.few_rows:,} rows", growth.few, "less")


def _listing_rows(listing: Listing) -> Iterator[Row]:
    first = {page.listing: page for page in listing.pages if page.number == 1}
    for page in listing.pages:
        name, ours = f"page {page.number} of {page.listing}", page.statement.p50
        yield Row(f"{name}, statement", ours, "ms", "its rows by key", page.by_key.p50, "less")
        if page.number != 1:
            beside = first[page.listing].get.p50
            yield Row(f"{name}, GET", page.get.p50, "ms", "page 1", beside, "less")


def _listing_summaries(listing: Listing) -> dict[str, Summary]:
    return {
        f"page {page.number} of {page.listing}, {way}": summary
        for page in listing.pages
        for way, summary in (
            ("GET", page.get), ("statement", page.statement), ("rows by key", page.by_key),
        )
    }  # fmt: skip


def _export_lines(exports: Exports) -> Iterator[str]:
    def line(name: str, rows: int, seconds: float) -> str:
        cells = f"{seconds:.2f}", f"{rows / seconds:,.0f}"
        return _columns(f"    {rows:,} rows as {name}", *cells)

    yield ""
    yield _columns("exports, POST to COMPLETED", "s", "rows/s")
    beside_psql = {"CSV": exports.csv, "JSON": exports.json, "NDJSON": exports.ndjson}
    for name, one in beside_psql.items():
        yield line(name, exports.rows, one.median.export)
    yield line("XLSX", XLSX_ROWS, exports.xlsx)
    yield line("PDF", PDF_ROWS, exports.pdf)
    yield ""
    ratios = {name: one.ratios for name, one in beside_psql.items()}
    yield from _spread("ratios to psql, of all rounds", ratios)


def _limits(limits: Limits) -> dict[str, Summary]:
    return {
        "durable commit": limits.durable_commit,
        "asynchronous commit": limits.asynchronous_commit,
        "row read by its key": limits.row_read,
        "query without rows": limits.empty_query,
        "database session": limits.database_session,
        "acknowledged send": limits.acknowledged_send,
        "passage of the log": limits.log_passage,
        "process, there and back": limits.process_exchange,
        "file in new folders": limits.file,
    }


def _summaries(title: str, summaries: Mapping[str, Summary]) -> Iterator[str]:
    yield ""
    yield _columns(title, "mean", "p50", "p99")
    for name, one in summaries.items():
        yield _columns(f"    {name}", f"{one.mean:.2f}", f"{one.p50:.2f}", f"{one.p99:.2f}")


def _spread(title: str, ratios: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Tell of ratios that are in order, the least first."""
    yield _columns(title, "least", "median", "greatest")
    for name, of_one in ratios.items():
        cells = (of_one[0], of_one[len(of_one) // 2], of_one[-1])
        yield _columns(f"    {name}", *(f"{ratio:.2f}" for ratio in cells))


def _shares(title: str, shares: Mapping[str, float], scale: float) -> Iterator[str]:
    yield ""
    yield _columns(title, f"{sum(shares.values()) * scale:.2f}")
    for name, share in sorted(shares.items(), key=lambda entry: -entry[1]):
        yield _columns(f"    {name}", f"{share * scale:.2f}")


def _columns(*cells: str) -> str:
    first, *others = cells
    padded = (cell.rjust(width) for cell, width in zip(others, _WIDTHS[1:], strict=False))
    return first.ljust(_WIDTHS[0]) + " ".join(padded)


def _number(value: float) -> str:
    """Write about three digits, which is as many as tell something."""
    decimals = max(0, 2 - max(0, math.floor(math.log10(value)))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
