"""The error codes that a plugin may give: those that the end of a job can have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_worker.plugins import PermanentError
from shared.events import JobFailed

PATTERN = JobFailed.model_json_schema()["properties"]["errorCode"]["pattern"]


@given(st.from_regex(PATTERN, fullmatch=True).filter(lambda code: len(code) <= 50))
def test_codes_that_the_end_of_a_job_can_have_are_taken(code: str) -> None:
    assert PermanentError("Why.", code=code).code == code


@pytest.mark.parametrize("code", ["", "A", "Rates", "RATES-AWAY", "_RATES", "9A", "A" * 51, "AB\n"])
def test_other_codes_are_refused_where_they_are_written(code: str) -> None:
    with pytest.raises(ValueError, match="no error code"):
        PermanentError("Why.", code=code)
