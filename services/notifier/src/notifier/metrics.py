"""The notifier's own Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.telemetry.metrics import LATENCY_BUCKETS


class NotifierMetrics:
    """What the queue of webhooks holds and what became of the attempts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.taken_in = Counter(
            "report_jobs_notifier_taken_in", "Webhooks stored for delivery", registry=registry
        )
        self.attempts = Counter(
            "report_jobs_notifier_attempts",
            "Attempts to deliver a webhook: delivered, status_<code> or a class of failure",
            ["outcome"],
            registry=registry,
        )
        self.latency = Histogram(
            "report_jobs_notifier_attempt_seconds",
            "Time from an attempt's start to the response head or the failure",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.pending = Gauge(
            "report_jobs_notifier_pending",
            "Webhooks waiting, over all notifiers",
            registry=registry,
        )
        self.in_flight = Gauge(
            "report_jobs_notifier_in_flight",
            "Webhooks being sent, over all notifiers",
            registry=registry,
        )
