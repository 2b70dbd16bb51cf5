"""What a worker takes the database's clock to say."""

import time
from datetime import timedelta

from report_worker.service.database_clock import DatabaseClock
from tests.support.report_runs import NOON


def test_it_goes_on_from_what_the_database_said() -> None:
    clock = DatabaseClock()
    assert clock.now() is None
    clock.observe(NOON, asked_at=time.monotonic())
    earlier, later = clock.now(), clock.now()
    assert earlier is not None
    assert later is not None
    assert NOON <= earlier <= later


def test_an_answer_that_was_long_on_its_way_is_left_alone() -> None:
    clock = DatabaseClock()
    clock.observe(NOON, asked_at=time.monotonic() - 5)
    assert clock.now() is None
    clock.observe(NOON, asked_at=time.monotonic())
    clock.observe(NOON + timedelta(hours=1), asked_at=time.monotonic() - 5)
    now = clock.now()
    assert now is not None
    assert now < NOON + timedelta(hours=1)
