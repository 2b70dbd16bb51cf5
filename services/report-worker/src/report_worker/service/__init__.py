"""The worker's use cases: the queue's transactions, and the running of what they claim."""

from report_worker.service.dispatcher import Dispatcher, DispatcherTimes
from report_worker.service.queue import Intake, Queue, QueueTimes, Renewal
from report_worker.service.retention import Retention
from report_worker.service.slots import Slots
from report_worker.service.sweeper import Sweeper, SweepTimes

__all__ = [
    "Dispatcher",
    "DispatcherTimes",
    "Intake",
    "Queue",
    "QueueTimes",
    "Renewal",
    "Retention",
    "Slots",
    "SweepTimes",
    "Sweeper",
]
