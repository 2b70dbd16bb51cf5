"""Which files of the artifact store can go, and which stay although nothing seems to need them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from report_worker.domain.sweeping import KnownRun, SweepRules, is_surplus, stored_file
from shared.job_id import earliest

NOW = datetime(2024, 5, 10, 12, tzinfo=UTC)
RULES = SweepRules(
    now=NOW,
    retention=timedelta(days=7),
    grace=timedelta(hours=1),
    remembers_from=NOW - timedelta(days=30),
)
JOB = earliest(NOW - timedelta(days=1))
TOKEN = UUID(int=7)
RUN = KnownRun(
    job_id=JOB,
    run=1,
    attempt=3,
    token=None,
    is_ended=True,
    is_deleted=False,
    has_artifact=True,
)
FAILED = replace(RUN, has_artifact=False)
RUNNING = replace(RUN, is_ended=False, has_artifact=False, token=TOKEN)
LONG_AGO = NOW - timedelta(hours=2)


def surplus(
    *runs: KnownRun, attempt: int = 3, at: datetime = LONG_AGO, rules: SweepRules = RULES
) -> bool:
    file = stored_file(f"{JOB}/1/{attempt}-{TOKEN.hex}/orders.csv", at)
    assert file is not None
    return is_surplus(file, runs, rules)


def test_an_artifact_that_a_run_ended_with_stays() -> None:
    assert not surplus(RUN)
    assert not surplus(RUN, replace(FAILED, run=2, attempt=5))


def test_what_other_attempts_of_an_ended_run_left_can_go() -> None:
    assert surplus(RUN, attempt=2)
    assert surplus(FAILED)


def test_what_was_written_lately_may_still_be_written_to() -> None:
    lately = NOW - timedelta(minutes=59)
    assert not surplus(RUN, attempt=2, at=lately)
    assert surplus(replace(FAILED, is_deleted=True), at=lately)


def test_a_run_that_goes_on_keeps_all_its_files() -> None:
    assert not surplus(RUNNING)
    assert not surplus(RUNNING, attempt=1)


@pytest.mark.parametrize("attempt", [1, 3])
def test_everything_of_a_job_that_is_deleted_or_expired_can_go(attempt: int) -> None:
    assert surplus(replace(RUN, is_deleted=True), attempt=attempt)
    expired = replace(RULES, now=NOW + timedelta(days=7))
    assert surplus(RUN, attempt=attempt, rules=expired)
    assert surplus(attempt=attempt, rules=expired)


def test_an_attempt_that_goes_on_keeps_its_file_whatever_became_of_its_job() -> None:
    expired = replace(RULES, now=NOW + timedelta(days=7))
    assert not surplus(replace(RUNNING, is_deleted=True))
    assert not surplus(RUNNING, rules=expired)


def test_what_the_database_may_have_forgotten_stays_until_it_expires() -> None:
    assert not surplus()
    assert not surplus(RUN, attempt=4)
    assert not surplus(FAILED, attempt=4)
    assert not surplus(FAILED, rules=replace(RULES, remembers_from=NOW))


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        f"{JOB}/1/orders.csv",
        f"{JOB}/1/1-{TOKEN.hex}",
        f"{JOB}/1/1-{TOKEN}/orders.csv",
        f"{JOB}/x/1-{TOKEN.hex}/orders.csv",
        f"{JOB}/1/1-{TOKEN.hex}/deeper/orders.csv",
        f"job_1/1/1-{TOKEN.hex}/orders.csv",
    ],
)
def test_a_file_that_no_attempt_wrote_is_nobody_s_business(path: str) -> None:
    assert stored_file(path, NOW) is None
