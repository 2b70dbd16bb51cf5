"""Creates the topics, once: they are never repartitioned."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from shared.settings import KafkaSettings
from shared.topics import Topic

RETENTION_MARGIN: Final = timedelta(days=7)
"""How much longer a topic keeps its records than a report is kept."""

_ADMIN_TIMEOUT_MS: Final = 20_000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is created. The partition count is fixed for the life of the topic."""

    topic: Topic
    partitions: int


SPECS: Final = (
    TopicSpec(Topic.REQUESTS, partitions=6),
    TopicSpec(Topic.EVENTS, partitions=6),
    TopicSpec(Topic.DEAD_LETTER, partitions=1),
)


async def ensure_topics(settings: KafkaSettings, report_retention: timedelta) -> None:
    """Create the topics that don't exist yet; leave those that do as they are.

    Raises:
        KafkaError: where the broker refuses or doesn't answer.

    """
    retention = report_retention + RETENTION_MARGIN
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap_servers, request_timeout_ms=_ADMIN_TIMEOUT_MS
    )
    await admin.start()
    try:
        response = await admin.create_topics(
            [_new_topic(spec, settings, retention) for spec in SPECS], timeout_ms=_ADMIN_TIMEOUT_MS
        )
    finally:
        await admin.close()
    for name, code, message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"creating topic {name}: {message}")


def _new_topic(spec: TopicSpec, settings: KafkaSettings, retention: timedelta) -> NewTopic:
    return NewTopic(
        name=settings.topic(spec.topic),
        num_partitions=spec.partitions,
        replication_factor=settings.replication_factor,
        topic_configs={
            "cleanup.policy": "delete",
            "retention.ms": str(retention // timedelta(milliseconds=1)),
            "min.insync.replicas": str(max(1, settings.replication_factor - 1)),
        },
    )
