"""The FastStream broker with the settings that this design needs, and its connection."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from shared.backoff import Backoff
from shared.bus.closed_transports import expect_closed_transports
from shared.bus.partitioner import partition_of
from shared.settings import KafkaSettings

if TYPE_CHECKING:
    from faststream.kafka.publisher.producer import AioKafkaFastProducerImpl

_MAX_REQUEST_BYTES: Final = 1024 * 1024
# Below "faststream" hangs a handler of FastStream's own, which writes no JSON.
_TRANSPORT_LOGGER: Final = logging.getLogger("kafka-transport")
_log = structlog.get_logger()


def make_broker(settings: KafkaSettings, *, service: str) -> KafkaBroker:
    """Build the broker of one process; nothing is connected yet.

    Not idempotent on purpose: with a broker away, aiokafka's idempotent producer never expires a
    batch and hangs on stop (aio-libs/aiokafka 1017). A duplicate is harmless here, a hang isn't.
    """
    expect_closed_transports()
    return KafkaBroker(
        settings.bootstrap_servers.split(","),
        client_id=f"report-jobs-{service}",
        acks="all",
        enable_idempotence=False,
        linger_ms=0,
        partitioner=partition_of,
        request_timeout_ms=int(settings.request_timeout * 1000),
        max_request_size=_MAX_REQUEST_BYTES,
        allow_auto_create_topics=False,
        graceful_timeout=settings.request_timeout,
        apply_types=False,
        logger=_TRANSPORT_LOGGER,
        log_level=logging.DEBUG,
    )


def producer_of(broker: KafkaBroker) -> AIOKafkaProducer:
    """Return the producer of a connected broker.

    FastStream builds and owns it. Its own `publish` wraps each message in a command, middlewares
    and a codec, for which messages that are encoded already pay as much again as for the sending.
    """
    producer = cast("AioKafkaFastProducerImpl", broker.config.producer)
    return producer._producer.producer  # noqa: SLF001 - there is no public way to it


class BusConnection:
    """Connects a broker in the background: a service starts while its Kafka is away."""

    def __init__(self, broker: KafkaBroker, settings: KafkaSettings) -> None:
        self._broker = broker
        self._settings = settings
        self._is_connected = False
        self._is_started = False

    @property
    def is_connected(self) -> bool:
        """Whether messages can be published; the client keeps the connection up from then on."""
        return self._is_connected

    async def connect(self) -> None:
        """Connect and join the groups, trying again with backoff until it works.

        Messages are published before the groups are joined: that may have to wait until the
        broker has given up on a member that died.
        """
        backoff = Backoff(first=0.2, longest=self._settings.connect_retry_longest)
        retry = 0
        while not self._is_started:
            try:
                async with asyncio.timeout(self._settings.request_timeout * 3):
                    await self._reach_any_server()
                    await _to_its_end(self._broker.connect(), self._settings.request_timeout)
                    self._is_connected = True
                    await _to_its_end(self._broker.start(), self._settings.request_timeout)
            except (KafkaError, OSError) as error:
                retry += 1
                _log.warning("kafka not reachable", error=type(error).__name__, retry=retry)
                await self._close()
                await asyncio.sleep(backoff.delay(retry))
            else:
                self._is_started = True

    async def ping(self) -> None:
        """Raise unless the cluster answers a request for its description."""
        if not self.is_connected:
            raise ConnectionError("not connected to Kafka yet")
        if not await self._broker.ping(timeout=self._settings.request_timeout):
            raise ConnectionError("Kafka doesn't answer")

    async def close(self) -> None:
        """Leave the groups and close all connections within the request timeout."""
        self._is_started = False
        await self._close()

    async def _close(self) -> None:
        self._is_connected = False
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await self._broker.stop()
        except (KafkaError, OSError, ExceptionGroup) as error:
            _log.warning("kafka connection not closed cleanly", error=type(error).__name__)

    async def _reach_any_server(self) -> None:
        """Raise OSError unless one bootstrap server accepts a connection.

        aiokafka's clients complain about themselves when their start fails half way, so the
        usual failure is found before any is built.
        """
        last_error: OSError | None = None
        for server in self._settings.bootstrap_servers.split(","):
            host, _, port = server.rpartition(":")
            try:
                async with asyncio.timeout(self._settings.request_timeout):
                    _, writer = await asyncio.open_connection(host, int(port))
            except OSError as error:
                last_error = error
                continue
            writer.close()
            return
        raise last_error or ConnectionError("no bootstrap server is configured")


async def _to_its_end(step: Coroutine[Any, Any, object], patience: float) -> None:
    """Run a step of connecting; who cancels it waits a while, for half a client can't be closed."""
    running = asyncio.ensure_future(step)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        outcome = asyncio.gather(running, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(outcome, patience)
        raise
