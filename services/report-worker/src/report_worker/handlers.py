"""Requests from the log: judge each, new runs against the catalogue, and hand them to the queue."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

import structlog
from pydantic import ValidationError

from report_worker.domain import (
    UNREADABLE,
    Cancellation,
    Deletion,
    NewRun,
    Rejection,
    Request,
    Run,
)
from report_worker.service import Intake, Queue, Slots
from shared import job_id
from shared.bus import Batch, InvalidRecord
from shared.catalogue import Catalogue
from shared.events import (
    UNKNOWN,
    CancelRequested,
    DeleteRequested,
    ReceivedEvent,
    ReportRequested,
    RetryRequested,
    type_name,
)
from shared.job_id import JobId, JobIds
from shared.report_request import ReportRequest
from shared.telemetry.trace import trace_id

WANTED: Final = (ReportRequested, RetryRequested, CancelRequested, DeleteRequested)
"""The events of the topic that the worker acts upon."""

LARGEST_REQUEST: Final = 256 * 1024
"""Characters of a stored request. The gateway admits much less, and each event that tells of the
end of a run carries the request, so it has to fit into a message with room to spare."""

_LONGEST_NAME: Final = 256
_TOO_LARGE: Final = "The request is too large."
_REQUESTED: Final = type_name(ReportRequested)
_AnyRequest = ReportRequested | RetryRequested | CancelRequested | DeleteRequested
_log = structlog.get_logger()


class RequestsHandler:
    """Takes batches of the requests topic; jobs older than `retention` are nobody's any more."""

    def __init__(
        self,
        catalogue: Catalogue,
        job_ids: JobIds,
        queue: Queue,
        slots: Slots,
        *,
        retention: timedelta,
    ) -> None:
        self._catalogue = catalogue
        self._job_ids = job_ids
        self._queue = queue
        self._slots = slots
        self._retention = retention

    async def handle(self, batch: Batch) -> None:
        """Store what the batch asks for and start what fits; raises where the database is away."""
        intake = self._judge(batch)
        with self._slots.reservation() as room:
            attempts = await self._queue.take_in(intake, free_slots=room)
            self._slots.start(attempts)

    def objection(self, received: ReceivedEvent) -> str | None:
        """Say why a request is none of ours: the gateway never gave the job id to its tenant.

        Whoever wrote it isn't the gateway, so it is not executed, and no job of a tenant ends by
        it. Of ids that have expired not even the key may be known any more.
        """
        event = received.event
        if event.job_id < self._oldest() or self._job_ids.is_certified(event.job_id, event.tenant):
            return None
        return f"{event.job_id} is no job id of tenant {event.tenant}"

    def _oldest(self) -> JobId:
        return job_id.earliest(self._job_ids.clock() - self._retention)

    def _judge(self, batch: Batch) -> Intake:
        intake = Intake(progress=batch.progress)
        oldest = self._oldest()
        unreadable = filter(None, map(self._unreadable, batch.invalid))
        intake.requests.extend(r for r in unreadable if r.run.job_id >= oldest)
        for received in batch.events:
            event = received.event
            if not isinstance(event, _AnyRequest):
                continue
            if event.job_id < oldest:
                _log.info("request of an expired job left alone", job_id=event.job_id)
            else:
                intake.requests.append(self._request(event, _traceparent(received.traceparent)))
        return intake

    def _request(self, event: _AnyRequest, traceparent: str | None) -> Request:
        match event:
            case ReportRequested():
                return self._new_run(event, event.created_at, traceparent)
            case RetryRequested():
                return self._new_run(event, event.requested_at, traceparent)
            case CancelRequested():
                return Cancellation(JobId(event.job_id), event.run)
            case DeleteRequested():
                return Deletion(_seen(event, traceparent))
            case _:
                assert_never(event)

    def _new_run(
        self, event: ReportRequested | RetryRequested, asked_at: datetime, traceparent: str | None
    ) -> NewRun | Rejection:
        declared = self._catalogue.get(event.request.report_type)
        run = NewRun(
            job_id=JobId(event.job_id),
            run=event.run,
            tenant=event.tenant,
            created_at=event.created_at,
            report_type=event.report_type,
            format=event.format,
            request=event.request,
            traceparent=traceparent,
            start_by=asked_at + (declared.limits.queue_ttl if declared else timedelta()),
        )
        return _size_rejection(run) or _rejection(run, self._catalogue) or run

    def _unreadable(self, record: InvalidRecord) -> Rejection | None:
        """End a job whose request is unreadable, if only its id can be read and is ours.

        Without this a client that got its 202 would see PENDING for ever.
        """
        name = record.headers.get("ce_subject") or record.key.decode("ascii", "replace")
        tenant = record.headers.get("ce_tenant", "")
        is_request = record.headers.get("ce_type", _REQUESTED) == _REQUESTED
        if not is_request or not self._job_ids.is_certified(name, tenant):
            return None
        created_at = job_id.created_at(JobId(name))
        run = NewRun(
            job_id=JobId(name),
            run=1,
            tenant=tenant,
            created_at=created_at,
            report_type=UNKNOWN,
            format=UNKNOWN,
            request=None,
            traceparent=_traceparent(record.headers.get("traceparent")),
            start_by=created_at,
        )
        return Rejection(run, UNREADABLE.message)


def _seen(event: DeleteRequested, traceparent: str | None) -> Run:
    return Run(
        job_id=JobId(event.job_id),
        run=event.run,
        tenant=event.tenant,
        created_at=event.created_at,
        report_type=event.report_type,
        format=event.format,
        request=None,
        traceparent=traceparent,
    )


def _traceparent(header: str | None) -> str | None:
    """Carry on a trace that is well formed; anything else would go into every later message."""
    return header if trace_id(header) else None


def _size_rejection(run: NewRun) -> Rejection | None:
    names = (run.report_type, run.format)
    request = run.request.model_dump_json(by_alias=True) if run.request else ""
    if len(request) <= LARGEST_REQUEST and all(len(name) <= _LONGEST_NAME for name in names):
        return None
    return Rejection(replace(run, request=None, report_type=UNKNOWN, format=UNKNOWN), _TOO_LARGE)


def _rejection(run: NewRun, catalogue: Catalogue) -> Rejection | None:
    """Refuse what can't be executed here: gateway and worker may know different catalogues."""
    if run.request is None:
        return Rejection(run, UNREADABLE.message)
    try:
        request = ReportRequest.model_validate(run.request.model_dump(by_alias=True))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        return Rejection(run, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}")
    for violation in catalogue.violations(request):
        return Rejection(run, f"{violation.field}: {violation.message}")
    return None
