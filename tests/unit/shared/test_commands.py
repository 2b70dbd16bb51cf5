"""The commands of a service: what is wrong is said in a line, and nothing is started."""

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from shared.catalogue import load_catalogue
from shared.commands import OwnCommand, ServiceSettings, run_service
from shared.database import migrations

pytestmark = pytest.mark.usefixtures("own_logging")

SECRET = "postgresql://user:s3cret@127.0.0.1:9/none"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, build: Any = None) -> None:
    monkeypatch.setattr(sys, "argv", ["service", *arguments])
    run_service(
        "service",
        settings=ServiceSettings,
        build_app=build or (lambda _: Starlette()),
        schema="service",
        migrations=Path(),
    )


def test_a_missing_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "serve")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "service: setting database_url: Field required\n"


def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://user:s3cret@127.0.0.1/none")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "serve")
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert "setting database_url" in shown
    assert "s3cret" not in shown


def test_a_catalogue_that_can_t_be_used_is_told_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", SECRET)
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("name: lower\n")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "serve", build=lambda _: load_catalogue(tmp_path))
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert {"one.yaml", "two.yaml"} <= {line.split(":")[1].rpartition("/")[2] for line in lines}
    assert all(line.startswith("service: ") for line in lines)


def test_a_migration_without_a_database_ends_with_a_line_and_no_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError(f"can't connect to {SECRET}")

    monkeypatch.setenv("DATABASE_URL", SECRET)
    monkeypatch.setattr(migrations, "migrate", refuse)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "migrate")
    assert ended.value.code == 1
    assert (
        capsys.readouterr().err
        == "service: the database can't be reached: ConnectionRefusedError\n"
    )


def test_an_unknown_command_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "dance")
    assert ended.value.code == 2


def test_a_command_of_a_services_own_is_given_its_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def greet(_settings: ServiceSettings, arguments: argparse.Namespace) -> int:
        sys.stdout.write(f"hello {arguments.name}\n")
        return 3

    monkeypatch.setenv("DATABASE_URL", SECRET)
    monkeypatch.setattr(sys, "argv", ["service", "greet", "--name", "Ada"])
    with pytest.raises(SystemExit) as ended:
        run_service(
            "service",
            settings=ServiceSettings,
            build_app=lambda _: Starlette(),
            schema="service",
            migrations=Path(),
            own_commands={
                "greet": OwnCommand("say hello", greet, add_name),
            },
        )
    assert (ended.value.code, capsys.readouterr().out) == (3, "hello Ada\n")


def add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True)
