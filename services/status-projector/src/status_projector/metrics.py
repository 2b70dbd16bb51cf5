"""The projector's own Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from shared.telemetry.metrics import LATENCY_BUCKETS

_BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class ProjectorMetrics:
    """What the fold does, and how far behind the events the read model is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batch_events = Histogram(
            "report_jobs_projector_batch_events",
            "Events per batch",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.fold = Histogram(
            "report_jobs_projector_fold_seconds",
            "Time to fold a batch and commit it",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.lag = Histogram(
            "report_jobs_projector_lag_seconds",
            "Time from an event to its being visible, for the oldest event of each batch",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.changed = Counter(
            "report_jobs_projector_changed", "Rows of the read model changed", registry=registry
        )
