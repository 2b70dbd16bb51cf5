"""How a connection that breaks looks to those who use the pool."""

import asyncio

import pytest

from shared.database.pool import TRANSIENT_ERRORS, PoolBusyError, open_database
from tests.support.relay import GOODBYE, Relay
from tests.support.servers import DatabaseUrls, patient_settings


async def test_a_server_that_said_goodbye_on_an_idle_connection_is_a_passing_failure(
    database: DatabaseUrls,
) -> None:
    relay = Relay(database.gateway)
    async with relay.listening() as url:
        settings = patient_settings(url)
        async with (
            open_database(settings, schema="gateway", service="test") as pool,
            open_database(settings, schema="gateway", service="test") as another,
        ):
            await pool.ping()
            relay.say(GOODBYE)
            await another.ping()  # takes many turns of the loop, and the goodbye is read in one
            with pytest.raises(TRANSIENT_ERRORS):
                await pool.ping()
            await pool.ping()


async def test_who_would_wait_behind_too_many_for_a_connection_is_refused_at_once(
    database: DatabaseUrls,
) -> None:
    settings = patient_settings(database.gateway, database_pool_size=1, database_queue=1)
    async with open_database(settings, schema="gateway", service="test") as pool:
        async with pool.connection():
            waiting = asyncio.create_task(pool.ping())
            await asyncio.sleep(0)
            with pytest.raises(PoolBusyError) as refusal:
                await pool.ping()
            assert isinstance(refusal.value, TRANSIENT_ERRORS)
        await waiting
        await pool.ping()
