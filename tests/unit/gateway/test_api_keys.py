"""API keys: one that is known opens, and nothing else does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import (
    AccessUnavailableError,
    ApiKey,
    Caller,
    NotAuthenticatedError,
    Scope,
    new_key_text,
    read_key,
)
from gateway.service import ApiKeys, KeyAdministration
from local_stack.polling import poll_until
from tests.support.gateway import NOW, FakeClock

ACME = Caller("acme", frozenset({Scope.READ}))
REFRESH = 5.0


class FakeTable:
    """The keys, or a database that is away."""

    def __init__(self) -> None:
        self.rows: dict[str, ApiKey] = {}
        self.is_away = False
        self.reads = 0

    async def add(
        self, key_id: str, sha256: bytes, caller: Caller, name: str, expires_at: datetime | None
    ) -> None:
        self.rows[key_id] = ApiKey(key_id, sha256, caller, name, NOW, expires_at, None)

    async def of_tenant(self, tenant: str | None) -> list[ApiKey]:
        return [key for key in self.rows.values() if tenant in {None, key.caller.tenant}]

    async def revoke(self, key_id: str) -> bool:
        return self.rows.pop(key_id, None) is not None

    async def live(self) -> list[ApiKey]:
        self.reads += 1
        if self.is_away:
            raise ConnectionError("away")
        return list(self.rows.values())


@asynccontextmanager
async def kept_fresh(keys: ApiKeys) -> AsyncIterator[None]:
    task = asyncio.create_task(keys.keep_fresh())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await poll_until(holds, seconds=10)


def opens(keys: ApiKeys, text: str) -> bool:
    try:
        return keys.authenticate(text) == ACME
    except (NotAuthenticatedError, AccessUnavailableError):
        return False


@given(st.binary(min_size=42, max_size=42))
def test_a_key_is_read_as_it_was_made(entropy: bytes) -> None:
    parts = [entropy[:10], entropy[10:]]
    text = new_key_text(lambda size: next(part for part in parts if len(part) == size))
    presented = read_key(text)
    assert presented is not None
    assert text.startswith(f"rjk_{presented.key_id}_")
    assert text not in repr(presented)


@given(st.text())
def test_any_other_text_is_no_key(text: str) -> None:
    assert read_key(text) is None
    assert read_key(f"rjk_{text}") is None


async def test_a_known_key_opens_and_a_changed_one_does_not() -> None:
    table, clock = FakeTable(), FakeClock()
    text = await KeyAdministration(table).create(ACME, "ci", None)
    keys = ApiKeys(table, clock, REFRESH)
    async with kept_fresh(keys):
        await until(lambda: opens(keys, text))
        last = "0" if text[-1] != "0" else "g"
        other = await KeyAdministration(FakeTable()).create(ACME, "ci", None)
        mixed = text[:21] + other[21:]
        for wrong in (text[:-1] + last, other, mixed, text.upper(), text + "0", f" {text}", ""):
            with pytest.raises(NotAuthenticatedError):
                keys.authenticate(wrong)


async def test_requests_cost_no_query_and_a_notice_is_acted_upon_at_once() -> None:
    table, clock = FakeTable(), FakeClock()
    administration = KeyAdministration(table)
    text = await administration.create(ACME, "ci", None)
    keys = ApiKeys(table, clock, refresh=3600)
    async with kept_fresh(keys):
        await until(lambda: opens(keys, text))
        assert all(opens(keys, text) for _ in range(1000))
        assert table.reads == 1
        await administration.revoke(text.split("_")[1])
        keys.wake()
        await until(lambda: not opens(keys, text))
        assert table.reads == 2


async def test_a_change_without_a_notice_is_found_by_the_next_reading() -> None:
    table, clock = FakeTable(), FakeClock()
    keys = ApiKeys(table, clock, refresh=0.02)
    async with kept_fresh(keys):
        text = await KeyAdministration(table).create(ACME, "ci", None)
        await until(lambda: opens(keys, text))


async def test_a_key_ends_at_its_moment_without_being_read_again() -> None:
    table, clock = FakeTable(), FakeClock()
    ends = NOW + timedelta(seconds=2)
    text = await KeyAdministration(table).create(ACME, "ci", ends)
    keys = ApiKeys(table, clock, REFRESH)
    async with kept_fresh(keys):
        await until(lambda: opens(keys, text))
        clock.now = ends
        with pytest.raises(NotAuthenticatedError):
            keys.authenticate(text)


async def test_without_a_database_known_keys_serve_and_others_are_not_called_wrong() -> None:
    table, clock = FakeTable(), FakeClock()
    text = await KeyAdministration(table).create(ACME, "ci", None)
    keys = ApiKeys(table, clock, REFRESH)
    async with kept_fresh(keys):
        await until(lambda: opens(keys, text))
        table.is_away = True
        keys.wake()
        clock.now += timedelta(seconds=REFRESH * 4)
        assert opens(keys, text)
        with pytest.raises(AccessUnavailableError):
            keys.authenticate(new_key_text(lambda size: b"x" * size))
        clock.now += timedelta(hours=2)
        with pytest.raises(AccessUnavailableError):
            keys.authenticate(text)
        table.is_away = False
        await until(lambda: opens(keys, text))


def test_before_the_keys_were_ever_read_nothing_is_known() -> None:
    keys = ApiKeys(FakeTable(), FakeClock(), REFRESH)
    with pytest.raises(AccessUnavailableError):
        keys.authenticate(new_key_text(lambda size: b"x" * size))
