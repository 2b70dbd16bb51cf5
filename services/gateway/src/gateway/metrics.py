"""The gateway's own Prometheus metrics."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.telemetry.metrics import LATENCY_BUCKETS


class RequestMetrics:
    """What was asked over HTTP and how it was answered, by route template."""

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = Counter(
            "report_jobs_gateway_requests",
            "HTTP requests answered",
            ["method", "route", "status"],
            registry=registry,
        )
        duration = Histogram(
            "report_jobs_gateway_request_seconds",
            "Time from a request's head to the end of its answer",
            ["method", "route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        # To look up a series by its labels takes longer than to count in it.
        self._requests, self._duration = cache(requests.labels), cache(duration.labels)

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; methods and routes have to be of a fixed number."""
        self._requests(method, route, status).inc()
        self._duration(method, route).observe(seconds)


class SubmissionMetrics:
    """What became of the submitted requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "report_jobs_gateway_published",
            "Jobs accepted: their request was acknowledged by all in-sync replicas",
            registry=registry,
        )
        self.shed = Counter(
            "report_jobs_gateway_shed",
            "Requests answered with 503 because too many were under way",
            registry=registry,
        )
        self.publish_failures = Counter(
            "report_jobs_gateway_publish_failures",
            "Submissions answered with 503 because no acknowledgement came in time",
            registry=registry,
        )


class ChangeMetrics:
    """Who waits for changes of jobs, and what telling them takes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.watches = Gauge(
            "report_jobs_gateway_watches",
            "Clients that wait for a change of a job or follow one",
            registry=registry,
        )
        self.reads = Counter(
            "report_jobs_gateway_change_reads",
            "Statements that read changed jobs, many at a time",
            registry=registry,
        )
