"""Requests from the log: judge each against the catalogue, then hand the batch to the queue."""

from typing import Final

from pydantic import ValidationError

from report_worker.domain import NewRun
from report_worker.service import Dispatcher, Queue
from report_worker.service.queue import Rejection
from shared import job_id
from shared.bus import Batch, InvalidRecord
from shared.catalogue import Catalogue
from shared.events import UNKNOWN, ReceivedEvent, ReportRequested, type_name
from shared.job_id import JobId, JobIds
from shared.report_request import ReportRequest

_UNREADABLE: Final = "The request could not be read."
_REQUESTED: Final = type_name(ReportRequested)


class RequestsHandler:
    """Takes batches of the requests topic."""

    def __init__(
        self, catalogue: Catalogue, job_ids: JobIds, queue: Queue, dispatcher: Dispatcher
    ) -> None:
        self._catalogue = catalogue
        self._job_ids = job_ids
        self._queue = queue
        self._dispatcher = dispatcher

    async def handle(self, batch: Batch) -> None:
        """Store the batch's runs and start what fits; raises where the database is away."""
        runs: list[NewRun] = []
        rejections = [r for r in map(self._rejection, batch.invalid) if r]
        for received in batch.events:
            run = _new_run(received)
            if run is None:
                continue
            reason = _refusal(run, self._catalogue)
            if reason is None:
                runs.append(run)
            else:
                rejections.append(Rejection(run, reason))
        with self._dispatcher.reservation() as free:
            attempts = await self._queue.take_in(
                runs, rejections, batch.progress, free_slots=free
            )
            self._dispatcher.start(attempts)

    def _rejection(self, record: InvalidRecord) -> Rejection | None:
        """End a job whose request is unreadable, if only its id can be read and is ours.

        Without this a client that got its 202 would see PENDING for ever.
        """
        name = record.headers.get("ce_subject") or record.key.decode("ascii", "replace")
        tenant = record.headers.get("ce_tenant", "")
        is_request = record.headers.get("ce_type", _REQUESTED) == _REQUESTED
        if not is_request or not self._job_ids.is_certified(name, tenant):
            return None
        run = NewRun(
            job_id=JobId(name),
            run=1,
            tenant=tenant,
            created_at=job_id.created_at(JobId(name)),
            report_type=UNKNOWN,
            format=UNKNOWN,
            request=None,
            traceparent=record.headers.get("traceparent"),
        )
        return Rejection(run, _UNREADABLE)


def _new_run(received: ReceivedEvent) -> NewRun | None:
    event = received.event
    if not isinstance(event, ReportRequested):
        return None
    return NewRun(
        job_id=JobId(event.job_id),
        run=event.run,
        tenant=event.tenant,
        created_at=event.created_at,
        report_type=event.report_type,
        format=event.format,
        request=event.request,
        traceparent=received.traceparent,
    )


def _refusal(run: NewRun, catalogue: Catalogue) -> str | None:
    """Say why the run can't be executed here: gateway and worker may know different catalogues."""
    if run.request is None:
        return _UNREADABLE
    try:
        request = ReportRequest.model_validate(run.request.model_dump(by_alias=True))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    for violation in catalogue.violations(request):
        return f"{violation.field}: {violation.message}"
    return None
