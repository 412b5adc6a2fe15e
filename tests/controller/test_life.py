"""The verbs of a job's life over a real socket and a real store."""

from __future__ import annotations

import asyncio
import time

import pytest
from controllers import spec

from tessera import errors
from tessera.api.controller.v1 import job_pb2, spec_pb2
from tessera.controller.policy.job import Cancel, Report, Stop
from tessera.controller.reconcile.deadlines import DeadlineLoop
from tessera.controller.reconcile.retention import RetentionLoop
from tessera.controller.services.feed import WAITING, JobFeeds
from tessera.controller.services.watch import watch
from tessera.controller.signals import job_key
from tessera.controller.store import (
    attempts,
    deletion,
    events,
    jobs,
    outbox,
    placement,
    schema,
)
from tessera.rpc.channel import mapped_errors

TIMEOUT = 10


@pytest.fixture
async def ask(platform):
    """Calls a verb by its name, and gives the job."""

    async def call(verb, job="", **fields):
        kind = getattr(job_pb2, f"{verb}JobRequest")
        with mapped_errors():
            reply = await getattr(platform.jobs, f"{verb}Job")(
                kind(name=job, **fields), metadata=platform.user(), timeout=TIMEOUT
            )
        return reply.job if verb != "Delete" else None

    return call


@pytest.fixture
async def create(platform):
    """Makes a job."""

    async def made(**fields):
        reply = await platform.jobs.CreateJob(
            job_pb2.CreateJobRequest(spec=spec(**fields)),
            metadata=platform.user(),
            timeout=TIMEOUT,
        )
        return reply.job.id

    return made


def write(platform, *call, **named):
    return platform.controller.runtime.database.write(*call, **named)


async def test_a_held_job_is_not_started_until_it_is_released(platform, create, ask):
    job = await create()
    assert (await ask("Hold", job, message="for the night")).hold.by == "ada"
    held = await ask("Hold", job, message="again")
    assert (held.hold.message, held.state) == ("for the night", job_pb2.JOB_STATE_QUEUED)
    assert not await write(platform, placement.admit, job, pool="local")
    assert not (await ask("Release", job)).HasField("hold")
    assert not (await ask("Release", job)).HasField("hold")
    assert await write(platform, placement.admit, job, pool="local")


async def test_a_job_may_be_submitted_held(platform, create):
    job = await create(scheduling=spec_pb2.SchedulingSpec(hold=True))
    assert (await platform.get(job)).hold.reason == job_pb2.HOLD_REASON_HELD
    assert not await write(platform, placement.admit, job, pool="local")


async def test_a_paused_job_gives_its_place_back_and_goes_on_when_it_is_resumed(
    platform, create, ask
):
    job = await create(retries=0)
    await write(platform, placement.admit, job, pool="local")
    await write(platform, jobs.apply, job, Report())
    paused = await ask("Pause", job, message="lunch", grace_seconds=600)
    assert paused.state == job_pb2.JOB_STATE_STOPPING
    assert paused.hold.reason == job_pb2.HOLD_REASON_PAUSED
    await ask("Pause", job)
    await write(platform, attempts.finish, job, 1, Stop(version=7))
    waits = await platform.get(job)
    assert (waits.state, waits.hold.message) == (job_pb2.JOB_STATE_QUEUED, "lunch")
    due = await platform.controller.runtime.database.read(outbox.next_due)
    assert due is None or due < waits.create_time.seconds + 300, "no kill holds up the next launch"
    await ask("Resume", job)
    assert await write(platform, placement.admit, job, pool="local")
    again = await ask("Requeue", job)
    assert again.state == job_pb2.JOB_STATE_STOPPING
    assert (await ask("Cancel", job)).state == job_pb2.JOB_STATE_CANCELLING


async def test_priority_changes_and_shows(platform, create, ask):
    job = await create(priority=3)
    assert (await ask("Update", job, priority=-7)).spec.priority == -7
    assert (await ask("Update", job)).spec.priority == -7
    listed = await platform.jobs.ListJobs(
        job_pb2.ListJobsRequest(filter="owner=ada"), metadata=platform.user(), timeout=TIMEOUT
    )
    assert [(j.spec.priority, j.spec.HasField("model")) for j in listed.jobs] == [(-7, False)]


async def test_only_an_ended_job_is_deleted_and_nothing_else_is_done_to_it(platform, create, ask):
    job = await create(labels={"team": "nlp"})
    with pytest.raises(errors.FailedPreconditionError) as caught:
        await ask("Delete", job)
    assert caught.value.reason == "JOB_NOT_ENDED"
    await ask("Cancel", job)
    for verb in ("Hold", "Release", "Pause", "Resume", "Requeue"):
        with pytest.raises(errors.FailedPreconditionError) as caught:
            await ask(verb, job)
        assert caught.value.reason == "JOB_ENDED"
    await ask("Delete", job)
    with pytest.raises(errors.NotFoundError):
        await ask("Get", job)


@pytest.mark.parametrize(
    ("limits", "runs", "outcome"),
    [
        ({"start_deadline_seconds": 60}, False, ("FAILED", "START_DEADLINE_EXCEEDED")),
        ({"start_deadline_seconds": 60}, True, ("RUNNING", "")),
        ({"time_limit_seconds": 60}, True, ("FAILED", "TIME_LIMIT")),
        ({"time_limit_seconds": 60}, False, ("QUEUED", "")),
        ({"stall_timeout_seconds": 60}, True, ("QUEUED", "STALLED")),
    ],
)
async def test_limits_in_time(platform, create, limits, runs, outcome):
    name, reason = outcome
    state = job_pb2.JobState.Value(f"JOB_STATE_{name}")
    job = await create(scheduling=spec_pb2.SchedulingSpec(**limits))
    if runs:
        await write(platform, placement.admit, job, pool="local")
        await write(platform, jobs.apply, job, Report())
    now = time.time()
    early, late = (DeadlineLoop(platform.runtime, lambda at=at: at) for at in (now + 50, now + 61))
    before = (await platform.get(job)).state
    await early.round()
    assert (await platform.get(job)).state == before
    await late.round()
    await late.round()
    if runs and reason:
        assert (await platform.get(job)).state == job_pb2.JOB_STATE_STOPPING
        await write(platform, attempts.finish, job, 1, Stop(version=5))
    found = await platform.get(job)
    assert found.state == state
    if state == job_pb2.JOB_STATE_QUEUED:
        assert not found.HasField("failure"), "it is tried again"
        return
    assert (found.failure.reason if reason else "") == reason
    if reason == "TIME_LIMIT":
        assert "version 5" in found.failure.message


async def test_many_watchers_of_a_job_cost_one_read_for_each_event(platform, create, monkeypatch):
    job = await create()
    runtime, reads, moved = platform.runtime, [], asyncio.Event()
    plain = runtime.database.read

    async def read(function, *given):
        reads.append(function)
        return await plain(function, *given)

    monkeypatch.setattr(runtime.database, "read", read)
    feeds, seen = JobFeeds(runtime), [[] for _ in range(40)]

    async def one(place):
        async for update in watch(runtime, feeds, job, 0):
            if update.WhichOneof("update") == "event":
                place.append(update.event.sequence)
                moved.set()

    async def until(done):
        while not done():
            moved.clear()
            await moved.wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for place in seen:
            group.create_task(one(place))
        await until(lambda: all(seen))
        reads.clear()
        for _ in range(10):
            await write(platform, note, job)
            runtime.signals.wake(job_key(job))
        await until(lambda: all(len(place) == 11 for place in seen))
        assert len(reads) <= 20, "not one for each watcher"
        # More than waits for one watcher: who has lost some reads them, and misses none.
        for _ in range(WAITING + 50):
            await write(platform, note, job)
        await write(platform, jobs.apply, job, Cancel(by="ada"))
        runtime.signals.wake(job_key(job))
    assert all(place == list(range(1, 13 + WAITING + 50)) for place in seen)


def note(connection, job):
    events.append(connection, job, type_="note", message="something")


async def test_what_is_kept_of_ended_jobs_goes_in_its_time(platform, create, ask):
    day, logs = 86_400.0, platform.runtime.logs
    kept = await create()
    old = await create(publish=spec_pb2.PublishSpec(set="other"))
    short = await create(
        publish=spec_pb2.PublishSpec(set="third"),
        scheduling=spec_pb2.SchedulingSpec(ttl_seconds=3600),
        labels={"team": "nlp"},
    )
    for job in (kept, old, short):
        logs.append(job, 1, "driver", 1, ["line"])
    await ask("Cancel", old)
    await ask("Cancel", short)

    async def left(after):
        await RetentionLoop(platform.runtime, lambda: time.time() + after).round()
        reply = await platform.jobs.ListJobs(
            job_pb2.ListJobsRequest(), metadata=platform.user(), timeout=TIMEOUT
        )
        return sorted(job.id for job in reply.jobs), logs.kept()

    assert await left(0) == (sorted([kept, old, short]), sorted([kept, old, short]))
    assert await left(3601) == (sorted([kept, old]), sorted([kept, old]))
    assert await left(31 * day) == (sorted([kept, old]), [kept])
    await write(platform, deletion.empty, schema.events, [old])
    request = job_pb2.WatchJobRequest(name=old)
    call = platform.jobs.WatchJob(request, metadata=platform.user(), timeout=TIMEOUT)
    assert [update async for update in call] == []
    assert await left(91 * day) == ([kept], [kept])
