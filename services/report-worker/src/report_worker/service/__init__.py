"""The worker's use cases: the queue's transactions, and the running of what they claim."""

from report_worker.service.dispatcher import Dispatcher
from report_worker.service.queue import Queue, QueueTimes

__all__ = ["Dispatcher", "Queue", "QueueTimes"]
