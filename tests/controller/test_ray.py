"""The controller against a real Ray cluster; a short script takes the trainer's place."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import sys
import textwrap

import pytest
from controllers import Running

from tessera.api.controller.v1 import job_pb2
from tessera.api.controller.v1.spec_pb2 import ResourcesSpec, SchedulingSpec
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.policy.outcome import RunStatus
from tessera.controller.policy.records import Pool
from tessera.controller.pools.launcher import RayHttp, RayLauncher, Submission
from tessera.controller.pools.secrets import Secrets, of_path
from tessera.rpc.channel import aio_channel

pytestmark = pytest.mark.ray

DRIVER = """\
#!{python}
import os, sys, time
import grpc
from tessera.api.controller.v1 import attempt_pb2 as pb, attempt_pb2_grpc, job_pb2
from tessera.rpc.channel import bearer, channel
from tessera.rpc.registration import exchange_tickets, handed_tickets

given = dict(zip(sys.argv[3::2], sys.argv[4::2]))
print("driver of", sys.argv[2])
[token] = exchange_tickets(given["--controller"], handed_tickets(os.environ))
stub = attempt_pb2_grpc.AttemptServiceStub(channel(given["--controller"]))
ref = pb.AttemptRef(job=given["--job"], attempt=int(given["--attempt"]))
call = dict(metadata=bearer(token), timeout=20, wait_for_ready=True)
spec = stub.GetAttempt(pb.GetAttemptRequest(ref=ref), **call).spec
step = 0
while True:
    step += 1
    note = job_pb2.JobEvent(type="note", message=f"pid={{os.getpid()}}")
    report = pb.Report(sequence=1, event=note)
    reply = stub.ReportAttempt(pb.ReportAttemptRequest(ref=ref, reports=[report]), **call)
    if reply.cancelled and spec.labels["how"] != "stubborn":
        stub.FinishAttempt(pb.FinishAttemptRequest(ref=ref, stopped=pb.Stopped()), **call)
        break
    if spec.labels["how"] == "crash":
        raise ValueError("the driver is broken")
    if spec.labels["how"] == "succeed" or ref.attempt > 1:
        success = pb.Success(version=7)
        stub.FinishAttempt(pb.FinishAttemptRequest(ref=ref, success=success), **call)
        break
    time.sleep(0.2)
"""


@pytest.fixture
async def running(ray_cluster, tmp_path):
    """A controller with its loops, on the session's cluster."""
    driver = tmp_path / "driver"
    driver.write_text(textwrap.dedent(DRIVER).format(python=sys.executable))
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
    pool = Pool(
        name="local",
        dashboard_url=ray_cluster.dashboard_url,
        ray_address=ray_cluster.address,
    )
    config = Config(
        host="127.0.0.1",
        port=0,
        home=tmp_path / "home",
        pools=(pool,),
        shards=0,
        ray_token=ray_cluster.token_path,
        python=str(driver),
    )
    found = Running(home=config.home)

    async def start():
        found.controller = Controller(config)
        port = await found.controller.start()
        found.channel = aio_channel(f"127.0.0.1:{port}")
        return found

    found.open = start
    await found.open()
    yield found
    await found.close()


async def until(running, job, *states, seconds=40):
    async with asyncio.timeout(seconds):
        while True:
            found = await running.get(job)
            if found.state in states:
                return found
            await asyncio.sleep(0.2)


async def history(running, job):
    request = job_pb2.WatchJobRequest(name=job)
    call = running.jobs.WatchJob(request, metadata=running.user(), timeout=30)
    return [u.event async for u in call if u.WhichOneof("update") == "event"]


async def pid_of(running, job):
    """The process id that the newest attempt told."""
    async with asyncio.timeout(20):
        while True:
            async for update in running.jobs.WatchJob(
                job_pb2.WatchJobRequest(name=job), metadata=running.user(), timeout=30
            ):
                if update.event.message.startswith("pid="):
                    return int(update.event.message.removeprefix("pid="))


async def test_the_launcher_runs_stops_and_reads(ray_cluster):
    http = RayHttp(Secrets(folder=ray_cluster.token_path.parent))
    pool = Pool(
        name="p",
        dashboard_url=ray_cluster.dashboard_url,
        ray_address=ray_cluster.address,
        token=of_path(ray_cluster.token_path),
    )
    launcher = RayLauncher(http)
    assert (await launcher.status(pool, "unknown-1")).status is RunStatus.MISSING
    await launcher.stop(pool, "unknown-1")
    script = "import os, time; print('at', os.environ['RAY_ADDRESS'], flush=True); time.sleep(99)"
    submission = Submission(
        id="launcher-1", command=["python", "-c", script], metadata={"owner": "ada"}
    )
    for _ in range(2):
        await launcher.submit(pool, submission)
    async with asyncio.timeout(30):
        while f"at {ray_cluster.address}" not in await launcher.log(pool, "launcher-1"):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.2)
        await launcher.stop(pool, "launcher-1")
        while not (run := await launcher.status(pool, "launcher-1")).status.over:  # noqa: ASYNC110 - the pool gives no wake-up
            await asyncio.sleep(0.2)
    assert run.status is RunStatus.STOPPED
    await http.close()


async def test_a_job_runs_to_its_end_and_keeps_its_driver_log(running):
    job = (await running.submit(labels={"how": "succeed"})).id
    done = await until(running, job, job_pb2.JOB_STATE_SUCCEEDED)
    assert [a.submission_id for a in done.attempts] == [f"{job}-1"]
    events = await history(running, job)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    assert sum(e.state == job_pb2.JOB_STATE_SUCCEEDED for e in events) == 1
    call = running.jobs.StreamLogs(
        job_pb2.StreamLogsRequest(name=job, follow=True), metadata=running.user(), timeout=30
    )
    lines = [line async for part in call for line in part.lines]
    assert "driver of tessera.trainer" in lines
    assert not any(re.search("[0-9a-f]{64}", line) for line in lines), "no ticket stands there"


async def test_a_killed_driver_is_tried_again_and_the_controller_may_die_meanwhile(running):
    job = (await running.submit(labels={"how": "wait"})).id
    await until(running, job, job_pb2.JOB_STATE_RUNNING)
    pid = await pid_of(running, job)
    await running.close()
    os.kill(pid, signal.SIGKILL)
    await running.open()
    done = await until(running, job, job_pb2.JOB_STATE_SUCCEEDED)
    assert [a.number for a in done.attempts] == [1, 2]
    first = done.attempts[0].failure
    assert (first.category, first.reason) == (
        job_pb2.FAILURE_CATEGORY_WORKER_LOST,
        "DRIVER_KILLED",
    )


async def test_a_crashing_driver_fails_with_its_traceback(running):
    job = (await running.submit(labels={"how": "crash"}, retries=0)).id
    done = await until(running, job, job_pb2.JOB_STATE_FAILED)
    assert done.failure.reason == "DRIVER_FAILED"
    assert "ValueError: the driver is broken" in done.failure.message
    assert done.failure.traceback.startswith("Traceback")
    assert done.failure.exit_code == 1


async def test_cancel_reaches_the_driver(running):
    job = (await running.submit(labels={"how": "wait"})).id
    await until(running, job, job_pb2.JOB_STATE_RUNNING)
    await running.jobs.CancelJob(
        job_pb2.CancelJobRequest(name=job), metadata=running.user(), timeout=10
    )
    done = await until(running, job, job_pb2.JOB_STATE_CANCELLED)
    assert len(done.attempts) == 1


async def test_a_second_gang_waits_with_figures_and_follows(running):
    wide = ResourcesSpec(workers=5)
    first = (await running.submit("first", labels={"how": "wait"}, resources=wide)).id
    await until(running, first, job_pb2.JOB_STATE_RUNNING)
    second = (await running.submit("second", labels={"how": "succeed"}, resources=wide)).id
    await asyncio.sleep(0.5)
    waiting = (await running.get(second)).waiting
    assert waiting[0].reason == "NO_ROOM"
    assert waiting[0].about["held_by"] == first
    assert first in waiting[0].message
    await running.jobs.CancelJob(
        job_pb2.CancelJobRequest(name=first), metadata=running.user(), timeout=10
    )
    await until(running, second, job_pb2.JOB_STATE_SUCCEEDED)


@pytest.mark.parametrize(("how", "grace"), [("wait", 600), ("stubborn", 1)])
async def test_a_paused_job_gives_its_place_back_and_goes_on(running, how, grace):
    job = (await running.submit(labels={"how": how}, retries=0)).id
    await until(running, job, job_pb2.JOB_STATE_RUNNING)
    await running.jobs.PauseJob(
        job_pb2.PauseJobRequest(name=job, grace_seconds=grace),
        metadata=running.user(),
        timeout=10,
    )
    paused = await until(running, job, job_pb2.JOB_STATE_QUEUED)
    await asyncio.sleep(2)
    assert (await running.get(job)).state == job_pb2.JOB_STATE_QUEUED, "it is held"
    assert paused.hold.by == "ada"
    await running.jobs.ResumeJob(
        job_pb2.ResumeJobRequest(name=job), metadata=running.user(), timeout=10
    )
    done = await until(running, job, job_pb2.JOB_STATE_SUCCEEDED)
    assert [attempt.number for attempt in done.attempts] == [1, 2]


async def test_an_attempt_that_takes_too_long_ends_and_is_not_repeated(running):
    limits = SchedulingSpec(time_limit_seconds=6)
    job = (await running.submit(labels={"how": "wait"}, scheduling=limits)).id
    done = await until(running, job, job_pb2.JOB_STATE_FAILED)
    assert done.failure.reason == "TIME_LIMIT"
    assert len(done.attempts) == 1
