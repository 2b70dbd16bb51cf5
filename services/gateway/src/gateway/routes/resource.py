"""What all JSON that goes out has in common."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import to_json
from starlette.responses import Response

from shared.clock import rfc3339

Timestamp = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""RFC 3339 in UTC with six fractional digits, so that text sorts like time."""

StoredTimestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""The same where it is kept as it is written."""


class Resource(BaseModel):
    """camelCase outside; every field is there, null where it says nothing."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    def json_bytes(self) -> bytes:
        """Return the resource as it is sent."""
        return to_json(self, by_alias=True)


class JsonAnswer(Response):
    """An answer with JSON that is bytes already, and headers that are written as HTTP has them.

    Every request for a job ends with one: what Starlette does to any headers costs more than to
    write these down.
    """

    def __init__(
        self, body: bytes, headers: Iterable[tuple[str, str]], status_code: int = 200
    ) -> None:
        self.status_code = status_code
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            *((name.encode(), value.encode()) for name, value in headers),
        ]
