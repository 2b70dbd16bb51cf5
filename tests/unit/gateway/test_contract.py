"""The JSON that goes out."""

from datetime import timedelta

from hypothesis import given

from gateway.domain import Job, JobView
from gateway.routes.contract import ReportJob, accepted_json
from shared.events import ReportRequested
from shared.job_id import JobId
from tests.support.job_histories import any_request


@given(requested=any_request)
def test_an_accepted_job_is_shown_as_any_other(requested: ReportRequested) -> None:
    expires_at = requested.created_at + timedelta(days=7)
    job = Job.pending(
        JobId(requested.job_id),
        requested.created_at,
        report_type=requested.report_type,
        format=requested.format,
    )
    view = JobView(job=job, expires_at=expires_at, download_url=None, retry_after=1)

    assert accepted_json(requested, expires_at) == ReportJob.of(view).json_bytes()
