"""How much processor time each part of a stack has used, from /proc."""

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM, _REAPED_USER, _REAPED_SYSTEM = 1, 11, 12, 13, 14
"""Positions after the command in /proc/<pid>/stat."""

_IDLE: Final = (3, 4)
"""Positions of idle and waiting for the disk after the name in a line of /proc/stat."""
_ACCOUNTED: Final = 8
"""What comes after those is counted among them already."""

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


def all_cpu_seconds() -> float:
    """Return the seconds used so far on our cores, by whomever."""
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in (_PROC / "stat").read_text().splitlines():
        name, *values = line.split()
        if name in ours:
            spent = [int(value) for value in values[:_ACCOUNTED]]
            ticks += sum(spent) - sum(spent[position] for position in _IDLE)
    return ticks / _TICKS


def own_cpu_seconds() -> float:
    """Return the seconds used so far by this process and by its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


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
