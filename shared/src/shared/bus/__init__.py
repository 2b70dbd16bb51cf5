"""Kafka as the services use it: one broker factory, publishing, reading, the dead letter."""

from shared.bus.batch import Batch, InvalidRecord
from shared.bus.broker import BusConnection, make_broker
from shared.bus.pace import Pace
from shared.bus.publisher import BusPublisher, BusUnavailableError
from shared.bus.reader import LogReader, ReaderTimes

__all__ = [
    "Batch",
    "BusConnection",
    "BusPublisher",
    "BusUnavailableError",
    "InvalidRecord",
    "LogReader",
    "Pace",
    "ReaderTimes",
    "make_broker",
]
