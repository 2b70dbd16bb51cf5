"""How much processor time each part of a stack has used, from /proc."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM, _REAPED_USER, _REAPED_SYSTEM = 1, 11, 12, 13, 14
"""Positions after the command in /proc/<pid>/stat."""

CHILDREN: Final = "its children"


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    own: int
    reaped: int
    """Of its children that have ended."""


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the seconds used so far by each process and all that it started, by name.

    What runs below the report-worker is counted apart.
    """
    processes = _processes()
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)

    def below(pid: int) -> int:
        mine = processes.get(pid)
        reaped = mine.reaped if mine else 0
        return reaped + sum(processes[c].own + below(c) for c in children.get(pid, ()))

    used: dict[str, float] = {}
    for name, pid in pids.items():
        own = processes[pid].own if pid in processes else 0
        if name == "report-worker":
            used[name], used[f"{name}: {CHILDREN}"] = own / _TICKS, below(pid) / _TICKS
        else:
            used[name] = (own + below(pid)) / _TICKS
    return used


def _processes() -> dict[int, _Process]:
    found = ((int(entry.name), _read(entry)) for entry in _PROC.iterdir() if entry.name.isdigit())
    return {pid: process for pid, process in found if process is not None}


def _read(entry: Path) -> _Process | None:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _Process(
        parent=int(fields[_PARENT]),
        own=int(fields[_USER]) + int(fields[_SYSTEM]),
        reaped=int(fields[_REAPED_USER]) + int(fields[_REAPED_SYSTEM]),
    )
