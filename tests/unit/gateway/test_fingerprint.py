"""When two requests count as the same."""

import json
import random
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import fingerprint, memory
from gateway.routes.contract import GenerateReportRequest
from tests.support.gateway import REQUEST

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
requests = st.fixed_dictionaries(
    {
        "reportType": st.sampled_from(["A", "B"]),
        "dateRange": st.fixed_dictionaries(
            {
                "fromDate": st.dates(date(2024, 1, 1), date(2024, 1, 3)).map(str),
                "toDate": st.dates(date(2024, 1, 4), date(2024, 1, 6)).map(str),
            }
        ),
    },
    optional={
        "format": st.sampled_from(["CSV", "PDF"]),
        "callbackUrl": st.sampled_from([None, "https://a.example/", "https://b.example/"]),
        "parameters": st.dictionaries(st.text("abc", max_size=2), values, max_size=3),
    },
)


def meant(request: dict[str, Any]) -> str:
    """Spell out, without the code under test, what a request says."""
    filled = {"format": "CSV", "callbackUrl": None, "parameters": {}, **request}
    return json.dumps(filled, sort_keys=True)


def shuffled(value: Any, seed: int) -> Any:
    if isinstance(value, dict):
        names = list(value)
        random.Random(seed).shuffle(names)
        return {name: shuffled(value[name], seed) for name in names}
    return [shuffled(part, seed) for part in value] if isinstance(value, list) else value


def of(request: dict[str, Any]) -> bytes:
    return fingerprint(GenerateReportRequest.model_validate(json.loads(json.dumps(request))))


@given(requests, requests)
def test_two_requests_have_one_fingerprint_if_and_only_if_they_say_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (of(one) == of(other)) == (meant(one) == meant(other))


@given(requests, st.integers())
def test_the_order_of_members_unknown_fields_and_defaults_make_no_difference(
    request: dict[str, Any], seed: int
) -> None:
    spelled_out = {"format": "CSV", "callbackUrl": None, "parameters": {}, "more": 1, **request}
    assert of(shuffled(spelled_out, seed)) == of(request)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, "1"), (1, True), (None, False)])
def test_what_json_tells_apart_in_parameters_counts(one: Any, other: Any) -> None:
    assert of({**REQUEST, "parameters": {"a": one}}) != of({**REQUEST, "parameters": {"a": other}})


def test_the_fingerprint_of_a_request_never_changes() -> None:
    """It is stored: a version that computed another one would refuse replays across an update."""
    assert of(REQUEST).hex() == "b4b8a24528d1a04bd23d18b5da50b65344938f6bc98be00cceaab393a1e53833"


def test_keys_are_remembered_as_long_as_their_jobs_and_never_under_a_day() -> None:
    assert memory(timedelta(days=7)) == timedelta(days=7)
    assert memory(timedelta(hours=1)) == timedelta(hours=24)
