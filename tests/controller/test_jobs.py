"""JobService over a real socket and a real store."""

from __future__ import annotations

import asyncio

import pytest
from controllers import spec

from tessera import errors
from tessera.api.controller.v1 import attempt_pb2, job_pb2, spec_pb2
from tessera.api.controller.v1.spec_pb2 import InitSpec, ModelSpec, PublishSpec
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.records import Pool
from tessera.controller.pools.state import PoolState
from tessera.controller.reconcile.scheduling import SchedulingLoop
from tessera.controller.scheduling.node import UNKNOWN_MEMORY, Node
from tessera.rpc.channel import mapped_errors

TIMEOUT = 10


async def create(platform, request_id="", metadata=None, **fields):
    request = job_pb2.CreateJobRequest(request_id=request_id, spec=spec(**fields))
    with mapped_errors():
        reply = await platform.jobs.CreateJob(
            request, metadata=metadata or platform.user(), timeout=TIMEOUT
        )
    return reply.job


async def collect(platform, job, cursor=0):
    """Every event until the stream ends."""
    request = job_pb2.WatchJobRequest(name=job, cursor=cursor)
    call = platform.jobs.WatchJob(request, metadata=platform.user(), timeout=TIMEOUT)
    return [u.event async for u in call if u.WhichOneof("update") == "event"]


async def test_a_job_is_accepted_with_every_default(platform):
    job = await create(platform, labels={"team": "nlp"})
    assert job.name == f"jobs/{job.id}"
    assert job.state == job_pb2.JOB_STATE_QUEUED
    assert (job.tenant, job.owner, job.spec.queue) == ("default", "ada", "default")
    assert job.spec.train.steps > 0
    assert job.spec.publish.set == "demo"
    assert await platform.get(job.id) == job


async def test_the_same_request_is_the_same_job_across_a_restart(platform):
    first = await create(platform, request_id="r1")
    assert (await create(platform, request_id="r1")).id == first.id
    await platform.reopen()
    assert (await create(platform, request_id="r1")).id == first.id
    other = await create(platform, "r1", metadata=platform.user(tenant="other"))
    assert other.id != first.id


async def test_the_same_request_id_with_another_body_is_refused(platform):
    first = await create(platform, request_id="r1")
    with pytest.raises(errors.AlreadyExistsError) as caught:
        await create(platform, request_id="r1", priority=3)
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert caught.value.metadata == {"job": first.id}


async def test_racing_requests_with_one_id_make_one_job(platform):
    jobs = await asyncio.gather(*(create(platform, request_id="r") for _ in range(8)))
    assert len({job.id for job in jobs}) == 1


async def test_validate_only_creates_nothing(platform):
    request = job_pb2.CreateJobRequest(spec=spec(), validate_only=True)
    reply = await platform.jobs.CreateJob(request, metadata=platform.user(), timeout=TIMEOUT)
    assert reply.job.id == ""
    assert reply.job.spec.publish.set == "demo"
    listed = await platform.jobs.ListJobs(
        job_pb2.ListJobsRequest(), metadata=platform.user(), timeout=TIMEOUT
    )
    assert not listed.jobs


@pytest.mark.parametrize(
    ("fields", "kind", "reason", "field"),
    [
        ({"queue": "gold"}, errors.NotFoundError, "QUEUE_NOT_FOUND", "spec.queue"),
        (
            {"model": ModelSpec(family="gtp")},
            errors.InvalidArgumentError,
            "UNKNOWN_FAMILY",
            "spec.model.family",
        ),
        (
            {"model": ModelSpec(family="gpt", heads=5, width=64)},
            errors.InvalidArgumentError,
            "HEADS_DO_NOT_DIVIDE_WIDTH",
            "spec.model.heads",
        ),
        ({"priority": 5000}, errors.InvalidArgumentError, "INVALID_FIELD", "spec.priority"),
        (
            {"model": ModelSpec(family="gpt", init=InitSpec(**{"from": "some-set@3"}))},
            errors.UnavailableError,
            "COORDINATOR_UNAVAILABLE",
            None,
        ),
    ],
)
async def test_bad_specs_are_refused(platform, fields, kind, reason, field):
    with pytest.raises(kind) as caught:
        await create(platform, **fields)
    assert caught.value.reason == reason
    assert [v.field for v in caught.value.violations] == ([field] if field else [])


@pytest.mark.parametrize(
    ("resources", "field"),
    [
        (spec_pb2.ResourcesSpec(workers=9), "spec.resources.workers"),
        (spec_pb2.ResourcesSpec(cpus_per_worker=64), "spec.resources.cpus_per_worker"),
        (
            spec_pb2.ResourcesSpec(accelerator=spec_pb2.AcceleratorSpec(type="H100")),
            "spec.resources.accelerator",
        ),
    ],
)
async def test_more_than_any_pool_could_hold_is_refused(platform, resources, field):
    pool = Pool(name="local", dashboard_url="http://127.0.0.1:1", ray_address="127.0.0.1:2")
    platform.runtime.pools._states["local"] = PoolState(
        pool=pool, nodes=(Node(id="n", pool="local", cpu=8000, memory=UNKNOWN_MEMORY),)
    )
    await SchedulingLoop(platform.runtime).round()
    with pytest.raises(errors.InvalidArgumentError) as caught:
        await create(platform, resources=resources)
    assert caught.value.reason == "EXCEEDS_EVERY_POOL"
    assert [v.field for v in caught.value.violations] == [field]
    assert "there is 8 CPU in all" in caught.value.message
    assert Demand(workers=8, cpus=1).total() == {"CPU": 8}


async def test_a_set_has_one_unfinished_writer(platform):
    first = await create(platform, publish=PublishSpec(set="weights"))
    with pytest.raises(errors.FailedPreconditionError) as caught:
        await create(platform, name="second", publish=PublishSpec(set="weights"))
    assert caught.value.reason == "SET_IN_USE"
    assert [v.field for v in caught.value.violations] == ["spec.publish.set"]
    assert first.id in caught.value.message
    await create(
        platform,
        publish=PublishSpec(set="weights"),
        metadata=platform.user(tenant="other"),
    )
    await platform.jobs.CancelJob(
        job_pb2.CancelJobRequest(name=first.id), metadata=platform.user(), timeout=TIMEOUT
    )
    await create(platform, name="second", publish=PublishSpec(set="weights"))


async def test_pages_walk_all_jobs_newest_first(platform):
    made = [(await create(platform, name=f"job-{i}")).id for i in range(5)]
    seen, token = [], ""
    while True:
        request = job_pb2.ListJobsRequest(page_size=2, page_token=token)
        reply = await platform.jobs.ListJobs(request, metadata=platform.user(), timeout=TIMEOUT)
        seen += [job.id for job in reply.jobs]
        token = reply.next_page_token
        if not token:
            break
    assert seen == made[::-1]


async def test_filters(platform):
    await create(platform, name="a", labels={"team": "nlp"})
    cancelled = await create(platform, name="b", labels={"team": "vision"})
    await platform.jobs.CancelJob(
        job_pb2.CancelJobRequest(name=cancelled.name), metadata=platform.user(), timeout=TIMEOUT
    )

    async def names(text):
        request = job_pb2.ListJobsRequest(filter=text)
        reply = await platform.jobs.ListJobs(request, metadata=platform.user(), timeout=TIMEOUT)
        return {job.spec.name for job in reply.jobs}

    assert await names("state=CANCELLED") == {"b"}
    assert await names("label.team=nlp") == {"a"}
    assert await names("name=b AND label.team=vision AND queue=default") == {"b"}
    assert await names("name=a AND state=CANCELLED") == set()


@pytest.mark.parametrize("text", ["state=DONE", "size=3", "name", "label.=x", "name="])
async def test_a_bad_filter_names_the_field(platform, text):
    with pytest.raises(errors.InvalidArgumentError) as caught, mapped_errors():
        await platform.jobs.ListJobs(
            job_pb2.ListJobsRequest(filter=text), metadata=platform.user(), timeout=TIMEOUT
        )
    assert [v.field for v in caught.value.violations] == ["filter"]


async def test_a_bad_page_token_is_refused(platform):
    with pytest.raises(errors.InvalidArgumentError) as caught, mapped_errors():
        await platform.jobs.ListJobs(
            job_pb2.ListJobsRequest(page_token="?"), metadata=platform.user(), timeout=TIMEOUT
        )
    assert caught.value.reason == "INVALID_PAGE_TOKEN"


async def test_tenants_do_not_see_each_other(platform):
    job = await create(platform)
    stranger = platform.user("eve", tenant="other")
    for call, request in [
        (platform.jobs.GetJob, job_pb2.GetJobRequest(name=job.id)),
        (platform.jobs.CancelJob, job_pb2.CancelJobRequest(name=job.id)),
    ]:
        with pytest.raises(errors.NotFoundError), mapped_errors():
            await call(request, metadata=stranger, timeout=TIMEOUT)
    with pytest.raises(errors.NotFoundError), mapped_errors():
        async for _ in platform.jobs.WatchJob(
            job_pb2.WatchJobRequest(name=job.id), metadata=stranger, timeout=TIMEOUT
        ):
            pass


async def test_a_queued_job_is_cancelled_at_once_and_twice_is_once(platform):
    job = await create(platform)
    request = job_pb2.CancelJobRequest(name=job.id)
    for _ in range(2):
        reply = await platform.jobs.CancelJob(request, metadata=platform.user(), timeout=TIMEOUT)
        assert reply.job.state == job_pb2.JOB_STATE_CANCELLED
    events = await collect(platform, job.id)
    assert [e.sequence for e in events] == [1, 2]
    assert events[-1].state == job_pb2.JOB_STATE_CANCELLED


async def finish(platform, job, number=1, **outcome):
    ref = attempt_pb2.AttemptRef(job=job, attempt=number)
    request = attempt_pb2.FinishAttemptRequest(ref=ref, **outcome)
    with mapped_errors():
        await platform.attempts.FinishAttempt(
            request, metadata=platform.attempt(job, number), timeout=TIMEOUT
        )


async def test_watchers_follow_to_the_end_and_resume_by_cursor(platform):
    job = (await create(platform)).id
    watching = asyncio.create_task(collect(platform, job))
    await asyncio.sleep(0.1)
    await platform.admit(job)
    ref = attempt_pb2.AttemptRef(job=job, attempt=1)
    for number in range(1, 6):
        note = attempt_pb2.Report(
            sequence=number, event=job_pb2.JobEvent(type="version", message=f"v{number}")
        )
        await platform.attempts.ReportAttempt(
            attempt_pb2.ReportAttemptRequest(ref=ref, reports=[note]),
            metadata=platform.attempt(job),
            timeout=TIMEOUT,
        )
    await finish(platform, job, success=attempt_pb2.Success(version=5))
    events = await watching
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    assert events[-1].state == job_pb2.JOB_STATE_SUCCEEDED
    assert [e.message for e in events if e.type == "version"] == [f"v{n}" for n in range(1, 6)]
    await platform.reopen()
    for cursor in range(len(events) + 1):
        assert await collect(platform, job, cursor) == events[cursor:]


async def test_a_cursor_past_the_end_is_refused(platform):
    job = await create(platform)
    with pytest.raises(errors.OutOfRangeError), mapped_errors():
        await collect(platform, job.id, cursor=7)


async def test_progress_comes_between_events(platform):
    job = (await create(platform)).id
    await platform.admit(job)
    call = platform.jobs.WatchJob(
        job_pb2.WatchJobRequest(name=job), metadata=platform.user(), timeout=TIMEOUT
    )
    updates = aiter(call)
    assert [(await anext(updates)).event.sequence for _ in range(2)] == [1, 2]
    ref = attempt_pb2.AttemptRef(job=job, attempt=1)
    report = attempt_pb2.Report(
        sequence=1, progress=job_pb2.Progress(step=3, loss=float("nan"), held_out_loss=2.5)
    )
    await platform.attempts.ReportAttempt(
        attempt_pb2.ReportAttemptRequest(ref=ref, reports=[report]),
        metadata=platform.attempt(job),
        timeout=TIMEOUT,
    )
    got = [await anext(updates), await anext(updates)]
    progress = next(u.progress for u in got if u.WhichOneof("update") == "progress")
    assert (progress.step, progress.held_out_loss) == (3, 2.5)
    assert progress.loss != progress.loss
    assert not progress.HasField("seconds_left")
    call.cancel()
