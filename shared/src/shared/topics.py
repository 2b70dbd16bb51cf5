"""The topics by name; `shared.bus.topics` creates them."""

from enum import StrEnum


class Topic(StrEnum):
    """A topic by the name that code uses; `KafkaSettings.topic` gives the name on the broker."""

    REQUESTS = "report-jobs.requests.v1"
    EVENTS = "report-jobs.events.v1"
    DEAD_LETTER = "report-jobs.dead-letter.v1"
