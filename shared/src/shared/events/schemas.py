"""The JSON Schema of every event, generated into `shared/schemas/`: `python -m shared.events.schemas`.

The files are what subscribers in any language read; a test holds them against the models.
"""  # noqa: E501

import json
import sys
from pathlib import Path
from typing import Any

from shared.events.envelope import TOPICS, schema_id, type_name
from shared.events.payloads import JobEvent

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(event_type: type[JobEvent]) -> dict[str, Any]:
    """Return the JSON Schema of an event's body."""
    generated = event_type.model_json_schema(by_alias=True, mode="serialization")
    head = {"$schema": _DIALECT, "$id": schema_id(event_type), "x-ce-type": type_name(event_type)}
    return head | generated


def files() -> dict[str, str]:
    """Return the content of each schema file by its name."""
    return {
        f"{event_type.__name__}.v1.json": json.dumps(schema(event_type), indent=2) + "\n"
        for event_type in TOPICS
    }


def main(directory: Path) -> None:
    """Write the files into `directory` and remove those of events that are no more."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for stale in {path.name for path in directory.glob("*.json")} - set(wanted):
        (directory / stale).unlink()
    for name, content in wanted.items():
        (directory / name).write_text(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("shared/schemas"))
