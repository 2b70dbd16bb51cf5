"""Trace context: what is well formed is carried on, anything else starts a new trace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.telemetry.trace import accepted_traceparent, new_traceparent, trace_id

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_client_traceparent_is_carried_on() -> None:
    assert accepted_traceparent(GOOD) == GOOD
    assert trace_id(GOOD) == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        GOOD.upper(),
        GOOD + "\n",
        "ff" + GOOD[2:],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        GOOD[:-1],
    ],
)
def test_anything_else_starts_a_trace_of_its_own(header: str | None) -> None:
    accepted = accepted_traceparent(header)

    assert accepted != header
    assert trace_id(accepted) is not None
    assert trace_id(header) is None


@given(header=st.text())
def test_any_text_is_judged_without_an_error(header: str) -> None:
    assert trace_id(accepted_traceparent(header)) is not None


def test_new_traces_differ() -> None:
    assert new_traceparent() != new_traceparent()
