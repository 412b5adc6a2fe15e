"""A controller whose pools say what a test wants, and its scheduler, a round at a time."""

from __future__ import annotations

import asyncio

import pytest
from controllers import spec

from tessera.api.controller.v1 import job_pb2
from tessera.api.controller.v1.spec_pb2 import PublishSpec, ResourcesSpec
from tessera.controller.policy.job import Cancel
from tessera.controller.policy.records import Pool
from tessera.controller.pools.nodes import of_ray
from tessera.controller.pools.state import PoolState
from tessera.controller.reconcile.scheduling import SchedulingLoop
from tessera.controller.store import attempts, jobs
from tessera.rpc.channel import mapped_errors

GIB = 1024.0**3


def row(id_, cpus=4, gpus=0, flavour="H100", state="ALIVE", **labels):
    resources = {"CPU": float(cpus), "memory": 16 * GIB, "node:1.2.3.4": 1.0}
    if gpus:
        resources |= {"GPU": float(gpus), f"accelerator_type:{flavour}": 1.0}
    return {"node_id": id_, "state": state, "resources_total": resources, "labels": labels}


class ScheduledFleet:
    """A controller whose pools say what the test wants."""

    def __init__(self, platform):
        self.platform, self.runtime = platform, platform.runtime
        self.loop = SchedulingLoop(self.runtime)

    def pool(self, name, *rows, seen=True, foreign=None):
        pool = Pool(name=name, dashboard_url="http://h:1", ray_address="h:2", foreign=foreign or {})
        at = asyncio.get_running_loop().time() if seen else None
        self.runtime.pools._states[name] = PoolState(pool=pool, nodes=of_ray(name, rows), seen=at)

    async def submit(self, name="demo", **resources):
        made = spec(name, resources=ResourcesSpec(**resources), publish=PublishSpec(set=name))
        request = job_pb2.CreateJobRequest(spec=made)
        call = self.platform.jobs.CreateJob(request, metadata=self.platform.user(), timeout=10)
        with mapped_errors():
            return (await call).job.id

    async def round(self):
        return await self.loop.round()

    async def job(self, id_):
        return await self.platform.get(id_)

    async def places(self, id_):
        found = await self.runtime.database.read(attempts.of_job, id_)
        return [worker.node for worker in found[-1].workers] if found else []

    async def end(self, id_):
        await self.runtime.database.write(jobs.apply, id_, Cancel(by="ada"))
        await self.runtime.database.write(attempts.release, id_, 1)

    async def explain(self, name, *extra):
        request = job_pb2.ExplainJobRequest(name=name, extra=extra)
        call = self.platform.jobs.ExplainJob(request, metadata=self.platform.user(), timeout=10)
        with mapped_errors():
            return await call


@pytest.fixture
async def fleet(platform):
    found = ScheduledFleet(platform)
    found.runtime.pools._states.clear()
    return found
