"""Following a job: what a client is told besides its states."""

from contextlib import aclosing
from dataclasses import replace

import pytest

from gateway.domain import Job, JobExpiredError, JobStatus, JobView
from gateway.service.following import Following, Gone, Pace, Quiet
from shared.job_id import created_at
from tests.support.gateway import RETENTION, FakeGateway


async def test_a_job_that_expires_while_it_is_followed_is_gone(gateway: FakeGateway) -> None:
    job_id = gateway.job_ids.new("default")
    job = replace(Job.pending(job_id, created_at(job_id)), status=JobStatus.RUNNING)
    gateway.read_model.add(job)
    following = Following(gateway.jobs, gateway.changes(), Pace(quiet=0.001, longest=60))
    async with (
        following.follow(job_id, "default", seen=None) as followed,
        aclosing(followed.states()) as states,
    ):
        assert isinstance(await anext(states), JobView)
        assert isinstance(await anext(states), Quiet)
        gateway.clock.now += RETENTION
        gone = await anext(states)
        assert isinstance(gone, Gone)
        assert isinstance(gone.error, JobExpiredError)
        with pytest.raises(StopAsyncIteration):
            await anext(states)
