"""Lists of 100,000 jobs, and one job that 500 watch: against limits, on a real controller.

The controller is a process of its own. Of each filter and page the median of calls is told, with
what the call costs the store alone; of the watchers, how long after an event's call began the last
of them has it, and how long that call took. One JSON object per line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc

from server_process import keep_stdout, say_ready, served
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.api.controller.v1 import job_pb2_grpc, spec_pb2
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.job import JobProgress, JobState
from tessera.controller.policy.records import Job
from tessera.controller.services import convert
from tessera.controller.store import rows
from tessera.controller.store.database import Database
from tessera.controller.store.schema import job_labels, jobs
from tessera.rpc.channel import aio_channel, bearer
from tessera.rpc.platform_limits import PlatformLimits, TenantLimits
from tessera.rpc.principal import Principal, Role
from tessera.spec import resolve

JOBS, WATCHERS, CHANNELS = 100_000, 500, 20
CALLS, EVENTS = 15, 10
LIST_MS, WATCH_SECONDS = 20.0, 0.5
OWNERS, TEAMS, NAMES = 200, 100, 5000
FILTERS = (
    "",
    "ended=false",
    "ended=true",
    "state=RUNNING",
    "state=STOPPING",
    "name=job-17",
    "name=none",
    "owner=user-3",
    "owner=user-3 AND state=FAILED",
    "queue=default AND ended=true",
    "label.team=team-7",
    "label.team=none",
    "label.team=team-7 AND owner=user-7 AND state=FAILED",
)
_ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


async def fill(database: Database, count: int) -> list[str]:
    """Put jobs into the store: 1 in 1000 runs, 1 in 100 waits, the others have ended."""
    asked = spec_pb2.JobSpec(
        name="job",
        model=spec_pb2.ModelSpec(family="gpt"),
        data=spec_pb2.DataSpec(files=["stdlib://**/*.py"]),
    )
    spec, dice = convert.to_json(resolve(asked)), random.Random(1)
    values, labels, ids = [], [], []
    for number in range(count):
        state = dice.choice(_ENDED)
        if number % 100 == 0:
            state = JobState.RUNNING if number % 1000 == 0 else JobState.QUEUED
        job = Job(
            id=f"j{number:09}",
            tenant="default",
            owner=f"user-{dice.randrange(OWNERS)}",
            name=f"job-{dice.randrange(NAMES)}",
            queue="default",
            priority=0,
            labels={"team": f"team-{dice.randrange(TEAMS)}"},
            request_id="",
            request_digest="",
            spec=spec,
            demand=Demand(workers=1, cpus=1.0),
            publish_set=f"set-{number}",
            position=JobProgress(state=state),
            create_time=1.0,
        )
        values.append(rows.columns(replace(job, end_time=2.0 if state in _ENDED else None)))
        labels.append(
            {"tenant": "default", "key": "team", "value": job.labels["team"], "job": job.id}
        )
        ids.append(job.id)
    for start in range(0, count, 5000):
        part = slice(start, start + 5000)
        await database.write(lambda c, part=part: c.execute(jobs.insert(), values[part]))
        await database.write(lambda c, part=part: c.execute(job_labels.insert(), labels[part]))
    return ids


async def serve(folder: Path, count: int) -> None:
    """The controller's process."""
    many = PlatformLimits(tenant=TenantLimits(jobs_of_principal=10_000))
    config = Config(host="127.0.0.1", port=0, home=folder / "home", shards=0, limits=many)
    controller = Controller(config, run_loops=False)
    await controller.start()
    await fill(controller.runtime.database, count)
    user = Principal(subject="user-3", role=Role.SUBMITTER, tenant="default")
    say_ready({"address": controller.address, "token": controller.runtime.issuer.issue(user)})
    await asyncio.Event().wait()


async def listed(stub: job_pb2_grpc.JobServiceAsyncStub, metadata: object, count: int) -> None:
    """Each filter, from the newest and from two thirds down."""
    for text in FILTERS:
        request = pb.ListJobsRequest(page_size=50, filter=text)
        times, found = await timed(stub, request, metadata)
        report("list", f"filter '{text}'", statistics.median(times), LIST_MS, jobs=found)
    request, token = pb.ListJobsRequest(page_size=500), ""
    for _ in range(count * 2 // 3 // 500):
        request.page_token = token
        token = (await stub.ListJobs(request, metadata=metadata)).next_page_token  # type: ignore[arg-type]
    for size in (50, 500):
        deep = pb.ListJobsRequest(page_size=size, page_token=token)
        times, found = await timed(stub, deep, metadata)
        report(
            "list",
            f"page of {size}, two thirds down",
            statistics.median(times),
            LIST_MS,
            jobs=found,
        )


async def timed(
    stub: job_pb2_grpc.JobServiceAsyncStub, request: pb.ListJobsRequest, metadata: object
) -> tuple[list[float], int]:
    """Milliseconds of calls, and how many jobs each showed."""
    times = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        reply = await stub.ListJobs(request, metadata=metadata)  # type: ignore[arg-type]
        times.append(1e3 * (time.perf_counter() - begun))
    return times, len(reply.jobs)


async def watched(address: str, metadata: object, watchers: int) -> None:
    """Events of one job, until the last watcher has each."""
    async with AsyncExitStack() as stack:
        channels = [
            # Each with a connection of its own.
            await stack.enter_async_context(
                grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(CHANNELS)
        ]
        stubs = [job_pb2_grpc.JobServiceStub(channel) for channel in channels]
        spec = spec_pb2.JobSpec(
            name="watched",
            model=spec_pb2.ModelSpec(family="gpt"),
            data=spec_pb2.DataSpec(files=["stdlib://**/*.py"]),
        )
        job = (await stubs[0].CreateJob(pb.CreateJobRequest(spec=spec), metadata=metadata)).job.id
        for number in (1, watchers // 5, watchers):
            await _rounds(stubs, metadata, job, number)


async def _rounds(
    stubs: Sequence[job_pb2_grpc.JobServiceAsyncStub], metadata: object, job: str, watchers: int
) -> None:
    seen: list[float] = [0.0] * watchers
    counts, moved = [0] * watchers, asyncio.Event()
    calls = [
        stubs[number % len(stubs)].WatchJob(pb.WatchJobRequest(name=job), metadata=metadata)  # type: ignore[arg-type]
        for number in range(watchers)
    ]

    async def follow(number: int) -> None:
        async for update in calls[number]:
            counts[number] = update.event.sequence
            seen[number] = time.perf_counter()
            moved.set()

    tasks = [asyncio.create_task(follow(number)) for number in range(watchers)]
    metadata_, last, took = metadata, [], []
    sequence = 0
    for number in range(EVENTS + 1):
        begun = time.perf_counter()
        hold = pb.HoldJobRequest(name=job)
        if number % 2:
            await stubs[0].ReleaseJob(pb.ReleaseJobRequest(name=job), metadata=metadata_)  # type: ignore[arg-type]
        else:
            await stubs[0].HoldJob(hold, metadata=metadata_)  # type: ignore[arg-type]
        call = time.perf_counter() - begun
        before = sequence
        while not (min(counts) == max(counts) > before):
            moved.clear()
            await moved.wait()
        sequence = max(counts)
        if number:  # The first lets everybody arrive.
            last.append(max(seen) - begun)
            took.append(call)
    report("watch", f"{watchers} watchers", max(last), WATCH_SECONDS, unit="s")
    report("watch", f"{watchers} watchers, the call", max(took), WATCH_SECONDS, unit="s")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def report(what: str, case: str, value: float, limit: float, unit: str = "ms", **more: int) -> None:
    """One line."""
    line = {"benchmark": "listing", "what": what, "case": case, "value": round(value, 3)}
    print(json.dumps({**line, "unit": unit, "limit": limit, "within": value <= limit, **more}))


async def measure(told: dict[str, str], count: int, watchers: int) -> None:
    """All of it."""
    metadata = bearer(told["token"])
    async with aio_channel(told["address"]) as channel:
        await listed(job_pb2_grpc.JobServiceStub(channel), metadata, count)
    await watched(told["address"], metadata, watchers)


def main() -> None:
    """Serve, or measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--watchers", type=int, default=WATCHERS)
    given = parser.parse_args()
    if given.serve:
        keep_stdout()
        asyncio.run(serve(given.serve, given.jobs))
        return
    with served(__file__, ["--jobs", str(given.jobs)]) as server:
        asyncio.run(measure(server.told, given.jobs, given.watchers))


if __name__ == "__main__":
    main()
