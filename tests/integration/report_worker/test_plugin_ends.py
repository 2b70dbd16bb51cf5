"""Plugins in real workers, whatever they end with: each job ends, and its client is told."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from shared.events import JobFailed
from shared.job_id import JobId
from tests.support.plugins import DECLARED, install_plugin
from tests.support.report_worker import WorkerBench

RAISES = """
import asyncio
from report_worker.plugins import PermanentError, ReportCancelled, ReportPlugin

async def rows(report):
    yield [(report.from_date, 1)]
    {statement}

plugin = ReportPlugin(rows, columns=("day", "total"))
"""

Install = Callable[[str, str], None]


@pytest.fixture
def install(bench: WorkerBench, tmp_path: Path) -> Install:
    """Offer a report type whose plugin executes a statement after its first row."""

    def install_raising(name: str, statement: str) -> None:
        install_plugin(tmp_path, RAISES.format(statement=statement), name=name.lower())
        declared = DECLARED | {"name": name, "plugin": name.lower()}
        path = tmp_path / "catalogue" / f"{name.lower()}.yaml"
        path.write_text(yaml.safe_dump(declared))
        bench.environment["PYTHONPATH"] = str(tmp_path)

    return install_raising


def failure(bench: WorkerBench, job: JobId) -> JobFailed:
    ended = bench.events.ended(job)
    assert isinstance(ended, JobFailed)
    return ended


async def test_a_message_that_no_event_can_carry_is_mended_and_the_job_ends(
    bench: WorkerBench, install: Install
) -> None:
    install("NUL", r'raise PermanentError("No \0 rates.")')
    install("HALF", r'raise PermanentError("No \ud800 rates.") from ValueError("\ud800")')
    install("ENDLESS", 'raise PermanentError("No rates. " * 1_000_000)')
    install("WRONG", "raise PermanentError(KeyError('rates'))")
    await bench.start_worker()
    nul, half, endless, wrong = [
        await bench.submit(name) for name in ("NUL", "HALF", "ENDLESS", "WRONG")
    ]
    await bench.all_ended(nul, half, endless, wrong)
    assert failure(bench, nul).error_message == "No \N{REPLACEMENT CHARACTER} rates."
    assert failure(bench, half).error_message == "No \N{REPLACEMENT CHARACTER} rates."
    cut = failure(bench, endless).error_message
    assert cut.startswith("No rates. No rates.")
    assert cut.endswith("…")
    assert len(cut) == 2000
    assert failure(bench, wrong).error_message == "'rates'"


async def test_a_plugin_that_ends_without_an_error_of_its_own_ends_its_attempt_at_once(
    bench: WorkerBench, install: Install
) -> None:
    install("CANCELS", "raise asyncio.CancelledError")
    install("LEAVES", "raise ReportCancelled")
    await bench.start_worker(slots="1", max_failures="2")
    for name in ("CANCELS", "LEAVES"):
        job = await bench.submit(name)
        await bench.told(job, "1 started", "1 FAILED", "2 started", "2 REPORT_GENERATION_FAILED")
        assert "internal error" in failure(bench, job).error_message


async def test_a_job_that_needs_too_much_memory_again_and_again_fails_and_says_so(
    bench: WorkerBench, install: Install
) -> None:
    install("GREEDY", "raise ExceptionGroup('tasks', [ValueError(), MemoryError()])")
    install("HOARDS", "bytearray(64 * 1024**3)")
    await bench.start_worker(max_losses="2")
    for name in ("GREEDY", "HOARDS"):
        job = await bench.submit(name)
        await bench.told(job, "1 started", "1 LOST", "2 started", "2 OUT_OF_MEMORY")
        assert "more memory than one may have" in failure(bench, job).error_message
