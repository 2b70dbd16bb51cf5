import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.servers import DatabaseUrls, LocalKafka, LocalPostgres, Postgres


async def _create_topic(servers: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _publish(servers: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def _read_one(servers: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        value: bytes | None = (await consumer.getone()).value
        return value
    finally:
        await consumer.stop()


async def test_acknowledged_record_survives_a_killed_broker(
    local_kafka: LocalKafka, topic_prefix: str
) -> None:
    topic, servers = f"{topic_prefix}kept", local_kafka.bootstrap_servers
    await _create_topic(servers, topic)
    await _publish(servers, topic, b"kept")

    await local_kafka.kill()
    await local_kafka.start()

    assert local_kafka.bootstrap_servers == servers
    assert await _read_one(servers, topic) == b"kept"


async def test_topics_are_not_made_by_asking_for_them(
    local_kafka: LocalKafka, topic_prefix: str
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=local_kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.describe_topics([f"{topic_prefix}absent"])
        assert f"{topic_prefix}absent" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_committed_row_survives_a_killed_database(local_postgres: LocalPostgres) -> None:
    async with local_postgres.create_database() as urls:
        await _execute(urls.gateway, "CREATE TABLE gateway.kept AS SELECT 1 AS value")

        await local_postgres.kill()
        await local_postgres.start()

        assert await _fetch(urls.gateway, "SELECT value FROM gateway.kept") == 1


async def test_database_put_back_to_a_copy_forgets_what_came_later(
    local_postgres: LocalPostgres,
) -> None:
    async with local_postgres.create_database() as urls:
        await _execute(urls.gateway, "CREATE TABLE gateway.kept (value int)")
        copy = await local_postgres.save_copy()
        await _execute(urls.gateway, "INSERT INTO gateway.kept VALUES (1)")

        await local_postgres.put_back(copy)

        assert await _fetch(urls.gateway, "SELECT count(*) FROM gateway.kept") == 0


async def test_writes_reach_the_disk_before_they_are_answered(
    local_postgres: LocalPostgres,
) -> None:
    assert await _fetch(local_postgres.admin_dsn, "SHOW fsync") == "on"
    assert await _fetch(local_postgres.admin_dsn, "SHOW synchronous_commit") == "on"


async def test_gateway_reads_what_the_projector_creates_later(database: DatabaseUrls) -> None:
    await _execute(database.status_projector, "CREATE TABLE read_model.jobs AS SELECT 7 AS id")

    assert await _fetch(database.gateway, "SELECT id FROM read_model.jobs") == 7
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _execute(database.gateway, "DELETE FROM read_model.jobs")


async def test_services_see_no_schema_of_each_other(database: DatabaseUrls) -> None:
    await _execute(database.notifier, "CREATE TABLE notifier.deliveries ()")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _fetch(database.report_worker, "SELECT count(*) FROM notifier.deliveries")


async def test_report_source_reads_the_shop_and_writes_nothing(database: DatabaseUrls) -> None:
    await _execute(database.admin, "CREATE TABLE shop.orders AS SELECT 3 AS id")

    assert await _fetch(database.report_source, "SELECT id FROM shop.orders") == 3
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await _execute(database.report_source, "INSERT INTO shop.orders VALUES (4)")


async def test_databases_of_one_server_are_apart(postgres: Postgres) -> None:
    async with postgres.create_database() as one, postgres.create_database() as other:
        await _execute(one.gateway, "CREATE TABLE gateway.mine ()")

        assert await _fetch(other.gateway, "SELECT to_regclass('gateway.mine')") is None


async def test_wrong_password_is_refused(database: DatabaseUrls) -> None:
    wrong = database.gateway.replace("postgresql://gateway:", "postgresql://gateway:wrong")

    with pytest.raises(asyncpg.InvalidPasswordError):
        await _execute(wrong, "SELECT 1")


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
