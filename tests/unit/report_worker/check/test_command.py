"""`report-worker catalogue check`, as a CI runs it: without any setting."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from report_worker.check import command
from tests.support.plugins import DECLARED, PLUGIN, install_plugin

SQL_TYPE: dict[str, Any] = {
    "name": "SALES",
    "title": "Sales",
    "source": "orders",
    "sql": "SELECT 1 AS n",
    "columns": [{"name": "n", "title": "N", "type": "integer"}],
}


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    return folder


def write(catalogue: Path, declared: dict[str, Any], /, **changes: Any) -> Path:
    file = catalogue / f"{declared['name'].lower()}.yaml"
    file.write_text(yaml.safe_dump({**declared, **changes}, sort_keys=False))
    return file


@dataclass(frozen=True)
class Checked:
    status: int
    out: str
    err: str


Check = Callable[..., Checked]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Check:
    """Run the command here; plugins are imported in a process of their own all the same."""

    def run_check(*arguments: str | Path, **environment: str) -> Checked:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        try:
            status = command.run(parser.parse_args(["check", *map(str, arguments)]))
        except SystemExit as refused:
            status = int(refused.code or 0)
        return Checked(status, *capfd.readouterr())

    return run_check


def test_it_runs_as_a_command_without_any_setting(catalogue: Path) -> None:
    file = write(catalogue, SQL_TYPE, titel="x")
    checked = subprocess.run(
        [sys.executable, "-P", "-m", "report_worker", "catalogue", "check", catalogue],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout) == (1, f"{file}:9: titel: is not a known field\n")


def test_a_good_catalogue_passes_with_what_was_not_checked(check: Check, catalogue: Path) -> None:
    write(catalogue, SQL_TYPE)
    checked = check(catalogue)
    assert (checked.status, checked.out) == (0, "")
    assert "1 report type, no mistake (queries not prepared: no --source for orders)" in (
        checked.err
    )


def test_mistakes_are_printed_with_file_line_and_field(check: Check, catalogue: Path) -> None:
    file = write(catalogue, SQL_TYPE, titel="x", limits={"max_span_days": 0})
    checked = check(CATALOGUE_DIR=str(catalogue))
    assert checked.status == 1
    assert checked.out.splitlines() == [
        f"{file}:11: limits.max_span_days: Input should be greater than or equal to 1",
        f"{file}:9: titel: is not a known field",
    ]
    assert "2 mistakes" in checked.err


def test_a_plugin_that_fits_passes_whatever_it_prints(
    check: Check, catalogue: Path, tmp_path: Path
) -> None:
    write(catalogue, DECLARED)
    install_plugin(tmp_path, PLUGIN + "\nprint('imported')\n")
    checked = check(catalogue, PYTHONPATH=str(tmp_path))
    assert (checked.status, checked.out) == (0, "")
    assert "imported" in checked.err


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "2: plugin: no installed package offers tested in the entry points report_jobs."),
        ("import no_such_module", "plugin_tested:plugin can't be imported: ModuleNotFoundError"),
        ("plugin = 3", "plugin_tested:plugin is of type int, and has to be a ReportPlugin"),
        ("raise SystemExit(0)", "can't be imported: SystemExit"),
        (
            "import os; os.abort()",
            "the process that imported the plugins ended with status -6",
        ),
        (
            PLUGIN.replace('"day", "total"', '"total",'),
            "4: columns: the plugin gives the columns total",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_a_mistake_of_its_report_type(
    check: Check, catalogue: Path, tmp_path: Path, code: str | None, reason: str
) -> None:
    file = write(catalogue, DECLARED)
    if code is not None:
        install_plugin(tmp_path, code)
    checked = check(catalogue, PYTHONPATH=str(tmp_path))
    assert checked.status == 1
    assert checked.out.startswith(f"{file}:")
    assert reason.split(": ", 1)[-1] in checked.out
    assert len(checked.out.splitlines()) == 1


def test_a_plugin_that_ruins_its_process_is_told_from_those_that_fit(
    check: Check, catalogue: Path, tmp_path: Path
) -> None:
    for name, code in (("fits", PLUGIN), ("ruins", "import os; os.abort()")):
        install_plugin(tmp_path, code, name=name)
        write(catalogue, DECLARED | {"name": name.upper(), "plugin": name})
    checked = check(catalogue, PYTHONPATH=str(tmp_path))
    assert checked.status == 1
    (line,) = checked.out.splitlines()
    assert line.startswith(f"{catalogue / 'ruins.yaml'}:")
    assert "ended with status -6" in line


def test_what_cannot_be_checked_is_no_mistake_of_the_files(check: Check, catalogue: Path) -> None:
    write(catalogue, SQL_TYPE)
    assert check().status == 2
    unknown = check(catalogue, "--source", "orders=mysql://a:s3cret@127.0.0.1/x")
    assert unknown.status == 2
    away = check(catalogue, "--source", "orders=postgresql://a:s3cret@127.0.0.1:1/x")
    assert (away.status, away.out) == (2, "")
    assert "source orders: ConnectionRefusedError" in away.err
    assert "s3cret" not in unknown.err + away.err
