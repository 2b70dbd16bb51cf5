"""The memory of the child that makes a report: it doesn't grow with the report."""

from pathlib import Path

import pytest
import yaml

from shared.events import JobCompleted, RequestedReport
from tests.support.report_worker import Worker, WorkerBench

WIDE = {
    "name": "WIDE",
    "title": "Wide",
    "source": "orders",
    "sql": "SELECT repeat('x', 3000) AS x FROM generate_series(1, :rows)",
    "parameters": {"properties": {"rows": {"type": "integer"}}, "required": ["rows"]},
    "columns": [{"name": "x", "title": "X", "type": "text"}],
}
MEBIBYTE = 1024
"""In the kernel's kB."""


def most_memory(worker: Worker) -> int:
    """Return what the only child has held at most so far, in kB."""
    (child,) = worker.children  # the same one for both reports
    lines = Path(f"/proc/{child}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


async def made(bench: WorkerBench, file_format: str, rows: int) -> None:
    asked = bench.request("WIDE").request.model_dump()
    request = RequestedReport.model_validate(
        asked | {"format": file_format, "parameters": {"rows": rows}}
    )
    job = await bench.submit("WIDE", request=request, format=file_format)
    await bench.all_ended(job)
    ended = bench.events.ended(job)
    assert isinstance(ended, JobCompleted)
    assert ended.row_count == rows


@pytest.mark.parametrize("file_format", ["CSV", "JSON", "XLSX"])
async def test_a_report_of_120_mb_takes_hardly_more_memory_than_one_of_30(
    bench: WorkerBench, tmp_path: Path, file_format: str
) -> None:
    (tmp_path / "catalogue" / "wide.yaml").write_text(yaml.safe_dump(WIDE))
    worker = await bench.start_worker(slots="1")
    await made(bench, file_format, 10_000)
    before = most_memory(worker)
    await made(bench, file_format, 40_000)
    assert most_memory(worker) - before < 20 * MEBIBYTE
