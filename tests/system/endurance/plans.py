"""What the endurance test's clients ask for, decided by the seed alone, and what may follow."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from shared.events import RequestedReport
from tests.support.plugins import install_plugin
from tests.system.catalogue import BRIEF_REPORT, BROKEN_QUERY, KNOWN_TO_GATEWAY

UNRULY: Final = "UNRULY"
"""A plugin's report that behaves as its parameter says."""

COMPLETED: Final = "COMPLETED"
_ANY_FORMAT: Final = (*["CSV"] * 8, *["JSON", "NDJSON", "XLSX"] * 3, "PDF")

UNRULY_TYPE: Final[dict[str, Any]] = {
    "name": UNRULY,
    "title": "Unruly",
    "plugin": "unruly",
    "columns": [{"name": "number", "title": "Number", "type": "integer"}],
    "parameters": {
        "type": "object",
        "properties": {
            "behaviour": {"type": "string", "enum": ["linger", "crash", "crash_at_times", "hang"]},
            "seconds": {"type": "number", "minimum": 0},
        },
        "required": ["behaviour"],
    },
    # Twice what one that lingers may take, with its worker frozen meanwhile.
    "limits": {"max_duration": 40},
}
_PLUGIN: Final = """
import asyncio, os, random, signal, time

from pydantic import BaseModel

from report_worker.plugins import ReportPlugin


class Parameters(BaseModel):
    behaviour: str
    seconds: float = 0


async def rows(report):
    asked = report.parameters
    match asked.behaviour:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash_at_times" if random.random() < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
    report.phase("lingering", rows_total=100)
    for number in range(100):
        await asyncio.sleep(asked.seconds / 100)
        report.rows(number)
        yield [(number,)]


plugin = ReportPlugin(rows, columns=("number",), parameters=Parameters)
"""


class Then(Enum):
    """What a client asks for after its job was accepted."""

    NOTHING = auto()
    REPLAY = auto()
    CANCEL = auto()
    RETRY = auto()
    DELETE = auto()


@dataclass(frozen=True, slots=True)
class Plan:
    """One client: its request, and what it does then."""

    number: int
    fields: Mapping[str, Any]
    """Those of the request that aren't the same for all."""
    key: str | None
    then: Then
    wait: float
    """Seconds before a cancel."""
    webhook: tuple[int, ...] | None
    """The statuses that its callback answers with, one after the other; None without a callback."""


@dataclass(frozen=True, slots=True)
class _Kind:
    weight: float
    report_type: str
    formats: tuple[str, ...] = ("CSV",)
    parameters: dict[str, Any] = field(default_factory=dict)


# A report whose child dies costs a new child, which is a second of a core.
_KINDS: Final = (
    _Kind(50, "ORDERS_SUMMARY", _ANY_FORMAT),
    _Kind(10, "ORDERS_DETAIL", ("CSV", "JSON", "NDJSON")),
    _Kind(25, BRIEF_REPORT, ("CSV", "JSON")),
    _Kind(4, BROKEN_QUERY),
    _Kind(3, KNOWN_TO_GATEWAY),
    _Kind(6, UNRULY, ("CSV", "XLSX"), {"behaviour": "linger"}),
    _Kind(1, UNRULY, ("CSV",), {"behaviour": "crash_at_times"}),
    _Kind(0.2, UNRULY, ("CSV",), {"behaviour": "crash"}),
    _Kind(0.2, UNRULY, ("CSV",), {"behaviour": "hang"}),
)
_FAILING: Final = (BROKEN_QUERY, KNOWN_TO_GATEWAY)


def install_unruly(folder: Path) -> None:
    """Install the plugin of UNRULY into a folder on the workers' module path."""
    folder.mkdir(parents=True)
    install_plugin(folder, _PLUGIN, name="unruly")


def plan(seed: str, number: int) -> Plan:
    """Decide what the client of this number does."""
    draw = random.Random(f"{seed}/{number}")
    [kind] = draw.choices(_KINDS, [kind.weight for kind in _KINDS])
    parameters = dict(kind.parameters)
    if parameters.get("behaviour") == "linger":
        parameters["seconds"] = round(draw.uniform(0.5, 7), 1)
    return Plan(
        number=number,
        fields={
            "reportType": kind.report_type,
            "format": draw.choice(kind.formats),
            "parameters": parameters,
        },
        key=f"{seed}-{number}" if draw.random() < 0.8 else None,
        then=_then(draw, kind),
        wait=draw.uniform(0, 1),
        webhook=_webhook(draw),
    )


def _then(draw: random.Random, kind: _Kind) -> Then:
    if kind.report_type in _FAILING and draw.random() < 0.5:
        return Then.RETRY
    return draw.choices(list(Then), [80, 6, 6, 2, 6])[0]


def _webhook(draw: random.Random) -> tuple[int, ...] | None:
    if draw.random() < 0.3:
        return None
    return (500, 503, 204) if draw.random() < 0.1 else (204,)


def possible_ends(request: RequestedReport, *, is_cancelled: bool) -> Collection[str]:
    """Return what a run of this request may come to: COMPLETED, or an error code."""
    ends = _ends(request)
    return {*ends, "CANCELLED"} if is_cancelled else ends


def _ends(request: RequestedReport) -> set[str]:
    match request.report_type, request.parameters.get("behaviour"):
        case (str(name), _) if name == BROKEN_QUERY:
            return {"REPORT_GENERATION_FAILED"}
        case (str(name), _) if name == KNOWN_TO_GATEWAY:
            return {"REQUEST_REJECTED"}
        case _, "crash":
            return {"CRASHED"}
        case _, "hang":
            # Its worker may be lost while it hangs, again and again.
            return {"TIMED_OUT", "CRASHED"}
        case _, "crash_at_times":
            return {COMPLETED, "CRASHED"}
        case _:
            return {COMPLETED}
