"""A pool that accepts and never answers keeps no other waiting."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from ray_dashboard import Dashboard

from tessera.api.controller.v1.spec_pb2 import PublishSpec
from tessera.controller.policy.records import Pool
from tessera.controller.pools.tasks import PoolTasks
from tessera.controller.reconcile.attempts import AttemptLoop
from tessera.controller.reconcile.commands import CommandLoop
from tessera.controller.store import attempts, placement, pools

AT_MOST = 2.0


@pytest.fixture
async def two(platform):
    """A pool that is well and one that hangs, with a job on each."""
    runtime = platform.runtime
    runtime.pools._states.clear()
    with socket.create_server(("127.0.0.1", 0)) as hung:
        well = Dashboard()
        jobs = {}
        urls = {"hung": f"http://127.0.0.1:{hung.getsockname()[1]}", "well": well.address}
        for name, url in urls.items():
            pool = Pool(name=name, dashboard_url=url, ray_address="h:1")
            await runtime.database.write(pools.put, pool, tenant="default", owner="ada")
            runtime.pools.set(pool)
            made = await platform.submit(name, publish=PublishSpec(set=name))
            await runtime.database.write(placement.admit, made.id, pool=name)
            jobs[name] = made.id
        yield runtime, well, jobs
        well.shutdown()


async def test_launches_looks_and_states_go_on(two):
    runtime, well, jobs = two
    commands, looks = CommandLoop(runtime, "h:1"), AttemptLoop(runtime)
    begun = time.monotonic()
    await commands.round()
    assert time.monotonic() - begun < AT_MOST
    assert list(well.started) == [f"{jobs['well']}-1"]
    for job in jobs.values():
        await runtime.database.write(attempts.set_launched, job, 1)
    for round_ in (looks.round, runtime.pools.refresh, commands.round):
        begun = time.monotonic()
        await round_()
        assert time.monotonic() - begun < AT_MOST
    assert runtime.pools.get("well").live
    assert not runtime.pools.get("hung").live
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in [task for task in others if " of hung" in task.get_name()]:
        task.cancel()


async def test_a_pool_is_worked_on_by_one_at_a_time():
    tasks, going, most = PoolTasks("work"), {}, {}

    async def work(pool, seconds):
        going[pool] = going.get(pool, 0) + 1
        most[pool] = max(most.get(pool, 0), going[pool])
        await asyncio.sleep(seconds)
        going[pool] -= 1
        if pool == "c":
            raise ValueError("of this pool alone")

    for _ in range(3):
        for pool, seconds in (("a", 0.2), ("b", 0.01), ("c", 0.01)):
            tasks.start(pool, lambda pool=pool, seconds=seconds: work(pool, seconds))
        await tasks.settle(0.05)
    assert await tasks.settle(1.0)
    assert most == {"a": 1, "b": 1, "c": 1}
    assert not tasks._tasks
