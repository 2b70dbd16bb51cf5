"""The schema files in the repository are those of the models, and describe what is written."""

import json
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from hypothesis import given

from shared.events import TOPICS, AnyJobEvent, schema_id
from shared.events.schemas import files, main, schema
from tests.support.job_histories import any_event

DIRECTORY = Path(__file__).parents[3] / "shared" / "schemas"


def test_files_are_up_to_date() -> None:
    """Otherwise run `python -m shared.events.schemas`."""
    assert {path.name: path.read_text() for path in DIRECTORY.iterdir()} == files()


def test_every_event_has_a_topic_and_a_schema() -> None:
    events = set(get_args(AnyJobEvent))

    assert set(TOPICS) == events
    assert set(files()) == {f"{event.__name__}.v1.json" for event in events}


@pytest.mark.parametrize("event_type", get_args(AnyJobEvent))
def test_schema_is_valid_and_named(event_type: type[AnyJobEvent]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(event_type))
    assert schema(event_type)["$id"] == schema_id(event_type)


@given(event=any_event)
def test_what_is_written_fits_its_schema(event: AnyJobEvent) -> None:
    jsonschema.validate(json.loads(event.model_dump_json(by_alias=True)), schema(type(event)))


def test_files_of_events_that_are_no_more_are_removed(tmp_path: Path) -> None:
    (tmp_path / "JobDreamt.v1.json").write_text("{}")

    main(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == set(files())
