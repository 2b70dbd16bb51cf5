"""Prometheus metrics of the parts that several services share; a service's own are in its
`metrics.py`. Names start with `report_jobs_`, durations are in seconds.
"""  # noqa: D205 - one sentence, two lines

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

LATENCY_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

HTTP_REFUSALS: Final = Counter(
    "report_jobs_http_refusals",
    "Requests that the server refused before they were routed, and connections that it cut off",
    ["reason"],
    registry=None,
)
"""The process's own, like its CPU time: connections are there before any application's parts."""


def new_registry() -> CollectorRegistry:
    """Return a registry with the process's own figures; one per process, built in `app.py`."""
    # A series per counter that no query of ours reads.
    disable_created_metrics()  # type: ignore[no-untyped-call] # the package lacks this one type
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(HTTP_REFUSALS)
    return registry


class ReaderMetrics:
    """What a service's log reader did."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.handled = Counter(
            "report_jobs_reader_events", "Events handled and stored", registry=registry
        )
        self.dead_lettered = Counter(
            "report_jobs_reader_dead_lettered",
            "Messages that could not be understood",
            registry=registry,
        )
        self.failures = Counter(
            "report_jobs_reader_failures",
            "Reads and batches that failed and were tried again",
            registry=registry,
        )


class OutboxMetrics:
    """What became of a service's outbox rows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "report_jobs_outbox_published",
            "Events published by the process that stored them",
            registry=registry,
        )
        self.swept = Counter(
            "report_jobs_outbox_swept",
            "Events published by a sweeper after they were left behind",
            registry=registry,
        )
