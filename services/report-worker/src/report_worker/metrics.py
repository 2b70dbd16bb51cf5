"""The worker's own Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.telemetry.metrics import LATENCY_BUCKETS


class WorkerMetrics:
    """What the queue holds and what became of the attempts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.taken_in = Counter(
            "report_jobs_worker_taken_in", "Runs stored for execution", registry=registry
        )
        self.attempts = Counter(
            "report_jobs_worker_attempts",
            "Attempts that ended, and runs that ended without one, by outcome or error code",
            ["outcome"],
            registry=registry,
        )
        self.duration = Histogram(
            "report_jobs_worker_attempt_seconds",
            "Time from an attempt's claim to its end",
            ["report_type", "format"],
            buckets=(*LATENCY_BUCKETS, 300, 900, 1800, 3600),
            registry=registry,
        )
        self.queued = Gauge(
            "report_jobs_worker_queued", "Runs waiting, over all workers", registry=registry
        )
        self.running = Gauge(
            "report_jobs_worker_running", "Runs executing, over all workers", registry=registry
        )
        self.swept = Counter(
            "report_jobs_worker_swept",
            "Files of failed, fenced, deleted or expired attempts that were deleted",
            registry=registry,
        )
        self.busy_slots = Gauge(
            "report_jobs_worker_busy_slots", "Attempts executing here", registry=registry
        )
