"""Reads Server-Sent Events as a browser does (HTML Living Standard, section 9.2)."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its id is the last that the stream has named."""

    id: str | None
    name: str
    data: dict[str, Any]

    @property
    def status(self) -> str:
        """The status of the job in it."""
        return str(self.data["status"])


@dataclass(slots=True)
class EventReader:
    """Turns the lines of one response into events, and keeps what isn't one."""

    response: httpx.Response
    retry: int | None = None
    comments: list[str] = field(default_factory=list)
    _last_id: str | None = None

    async def __aiter__(self) -> AsyncIterator[Event]:
        fields: dict[str, str] = {}
        async for line in self.response.aiter_lines():
            if line:
                self._take(line, fields)
            elif "data" in fields:
                yield Event(
                    self._last_id, fields.get("event", "message"), json.loads(fields["data"])
                )
                fields = {}

    async def next(self) -> Event:
        """Return the next event; a response can be read in this way only once at a time."""
        return await anext(self._events)

    _events: AsyncIterator[Event] = field(init=False)

    def __post_init__(self) -> None:
        self._events = aiter(self)

    def _take(self, line: str, fields: dict[str, str]) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments.append(value)
            case "id":
                self._last_id = value
            case "retry":
                self.retry = int(value)
            case "data" if "data" in fields:
                fields["data"] += "\n" + value
            case _:
                fields[name] = value
