"""Turns an admitted request into a job: 202 is answered after the broker's acknowledgement."""

from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from gateway.domain import OverloadedError, RequestRefusedError
from gateway.metrics import SubmissionMetrics
from gateway.service.active_jobs import ActiveJobs
from shared.bus import BusUnavailableError
from shared.callback import CallbackPolicy, CallbackUrlError, check_callback_url
from shared.catalogue import Catalogue
from shared.clock import Clock
from shared.events import (
    OutgoingMessage,
    ReportRequested,
    RequestedDateRange,
    RequestedReport,
    encode,
)
from shared.job_id import JobId, JobIds, created_at
from shared.report_request import ReportRequest, Violation
from shared.telemetry.trace import trace_id

_SOURCE: Final = "gateway"
_FIRST_RUN: Final = 1
_log = structlog.get_logger()


class Publisher(Protocol):
    """Writes to the log."""

    async def publish_one(self, message: OutgoingMessage) -> None:
        """Return once the message is acknowledged, else raise BusUnavailableError."""


@dataclass(frozen=True, slots=True)
class Submissions:
    """Admits requests and publishes them."""

    catalogue: Catalogue
    callback_policy: CallbackPolicy
    job_ids: JobIds
    publisher: Publisher
    active_jobs: ActiveJobs
    clock: Clock
    metrics: SubmissionMetrics

    async def submit(
        self, request: ReportRequest, tenant: str, traceparent: str
    ) -> ReportRequested:
        """Accept a request as a new job of `tenant`; nothing is published for one refused.

        Return what was published.

        Raises:
            RequestRefusedError: with everything that is wrong with the request.
            TooManyActiveJobsError: where the tenant has no room for another job.
            OverloadedError: where too much is under way here.
            BusUnavailableError: where it is unknown whether the job was accepted.

        """
        self.admit(request, tenant)
        event = _requested(request, self.job_ids.new(tenant), tenant)
        await self.publish(event, self._encoded(event, traceparent))
        return event

    def check(self, request: ReportRequest) -> None:
        """Raise RequestRefusedError, with everything that is wrong, unless it can be a job."""
        if violations := self._violations(request):
            raise RequestRefusedError(violations)

    def admit(self, request: ReportRequest, tenant: str) -> None:
        """Raise RequestRefusedError or TooManyActiveJobsError unless it may become a new job."""
        self.check(request)
        self.active_jobs.require_room(tenant)

    def prepare(self, request: ReportRequest, tenant: str, traceparent: str) -> OutgoingMessage:
        """Return the message that makes a checked request a new job once it is published."""
        return self._encoded(_requested(request, self.job_ids.new(tenant), tenant), traceparent)

    async def publish(self, event: ReportRequested, message: OutgoingMessage) -> None:
        """Publish a request and return once it is acknowledged.

        Raises:
            BusUnavailableError: where it is unknown whether it was.
            OverloadedError: where too much is under way here.

        """
        trace = trace_id(message.headers["traceparent"])
        # Before it is published: requests that come meanwhile mustn't take the same last place.
        self.active_jobs.add(event.tenant, JobId(event.job_id))
        try:
            await self.publisher.publish_one(message)
        except OverloadedError:
            self.active_jobs.remove(event.tenant, JobId(event.job_id))
            raise
        except BusUnavailableError as error:
            # If it was taken after all, the read model will show it.
            self.active_jobs.remove(event.tenant, JobId(event.job_id))
            self.metrics.publish_failures.inc()
            _log.warning(
                "report request not acknowledged",
                job_id=event.job_id,
                trace_id=trace,
                reason=str(error),
            )
            raise
        self.metrics.published.inc()
        _log.info(
            "report requested",
            job_id=event.job_id,
            trace_id=trace,
            tenant=event.tenant,
            report_type=event.report_type,
            format=event.format,
        )

    def _encoded(self, event: ReportRequested, traceparent: str) -> OutgoingMessage:
        return encode(event, source=_SOURCE, time=self.clock(), traceparent=traceparent)

    def _violations(self, request: ReportRequest) -> list[Violation]:
        found = self.catalogue.violations(request)
        if request.callback_url is not None:
            try:
                check_callback_url(request.callback_url, self.callback_policy)
            except CallbackUrlError as error:
                found.append(Violation(field="/callbackUrl", code=error.code, message=str(error)))
        return found


def _requested(request: ReportRequest, job_id: JobId, tenant: str) -> ReportRequested:
    dates = request.date_range
    return ReportRequested(
        job_id=job_id,
        tenant=tenant,
        created_at=created_at(job_id),
        report_type=request.report_type,
        format=request.format,
        run=_FIRST_RUN,
        request=RequestedReport(
            report_type=request.report_type,
            date_range=RequestedDateRange(
                from_date=dates.from_date.isoformat(), to_date=dates.to_date.isoformat()
            ),
            format=request.format,
            callback_url=request.callback_url,
            parameters=request.parameters,
        ),
    )
