"""The scheduler at work in a controller: what it decides is stored, and what is stored it knows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from controllers import spec

from tessera import errors
from tessera.api.controller.v1 import (
    job_pb2,
    node_pb2,
    node_pb2_grpc,
    queue_pb2,
    queue_pb2_grpc,
    usage_pb2,
    usage_pb2_grpc,
)
from tessera.api.controller.v1.spec_pb2 import AcceleratorSpec, PublishSpec, ResourcesSpec
from tessera.attempt.failure import Failure, FailureCategory
from tessera.controller.policy.job import Cancel, Fail, Stop
from tessera.controller.policy.records import Pool
from tessera.controller.policy.workloads import SERVICES
from tessera.controller.pools.nodes import of_ray
from tessera.controller.pools.state import PoolState
from tessera.controller.reconcile.scheduling import SchedulingLoop
from tessera.controller.store import attempts, changes, holds, jobs, nodes, placements
from tessera.controller.store.schema import attempts as attempt_table
from tessera.controller.store.schema import jobs as table
from tessera.rpc.channel import mapped_errors
from tessera.rpc.principal import Role

GIB = 1024.0**3


def row(id_, cpus=4, gpus=0, flavour="H100", state="ALIVE", **labels):
    resources = {"CPU": float(cpus), "memory": 16 * GIB, "node:1.2.3.4": 1.0}
    if gpus:
        resources |= {"GPU": float(gpus), f"accelerator_type:{flavour}": 1.0}
    return {"node_id": id_, "state": state, "resources_total": resources, "labels": labels}


class Fleet:
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
    found = Fleet(platform)
    found.runtime.pools._states.clear()
    return found


async def test_workers_get_nodes_and_give_them_back(fleet):
    fleet.pool("p", row("a", gpus=8), row("b", gpus=8, flavour="A100"))
    eight = {"accelerator": AcceleratorSpec(type="H100", count=8)}
    first, second = [await fleet.submit(name, **eight) for name in ("one", "two")]
    other = await fleet.submit("three", accelerator=AcceleratorSpec(type="A100", count=4))
    await fleet.round()
    assert await fleet.places(first) == ["a"]
    assert await fleet.places(other) == ["b"], "it competes with nobody"
    shown = (await fleet.job(first)).attempts[0]
    assert (shown.pool, shown.flavour, list(shown.nodes)) == ("p", "H100", ["a"])
    waiting = (await fleet.job(second)).waiting
    assert [(item.reason, item.about["held_by"]) for item in waiting] == [("NO_ROOM", first)]
    await fleet.end(first)
    await fleet.round()
    assert await fleet.places(second) == ["a"]
    await fleet.round()
    assert await fleet.runtime.database.read(changes.pending) == []


async def test_a_controller_that_begins_anew_knows_who_is_where(fleet):
    fleet.pool("p", row("a"), row("b"))
    held = await fleet.submit("held", cpus_per_worker=3)
    await fleet.round()
    (before,) = await fleet.places(held)
    await fleet.runtime.scheduler.reset()
    wide, narrow = await fleet.submit("wide", cpus_per_worker=4), await fleet.submit("narrow")
    await fleet.round()
    assert await fleet.places(wide) == ["b" if before == "a" else "a"]
    assert await fleet.places(narrow) == [before]


async def test_what_was_decided_and_not_stored_is_not_believed(fleet, monkeypatch):
    fleet.pool("p", row("a"))
    job = await fleet.submit()
    with monkeypatch.context() as patch:

        async def broken(*_, **__):
            raise errors.UnavailableError("the database is away")

        patch.setattr(type(fleet.runtime.database), "write", broken)
        with pytest.raises(errors.UnavailableError):
            await fleet.round()
    assert not fleet.runtime.scheduler.ready
    assert (await fleet.job(job)).state == job_pb2.JOB_STATE_QUEUED
    await fleet.round()
    assert await fleet.places(job) == ["a"]


async def test_a_job_that_is_cancelled_meanwhile_holds_nothing(fleet):
    fleet.pool("p", row("a"))
    job = await fleet.submit(cpus_per_worker=4)
    await fleet.runtime.database.write(jobs.apply, job, Cancel(by="ada"))
    other = await fleet.submit("other", cpus_per_worker=4)
    await fleet.round()
    assert await fleet.places(job) == []
    assert await fleet.places(other) == ["a"]


async def test_a_held_job_waits_for_its_release(fleet):
    fleet.pool("p", row("a"))
    job = await fleet.submit()
    given = holds.JobHold(reason=holds.HoldReason.HELD, by="bob")
    await fleet.runtime.database.write(holds.hold, job, given)
    await fleet.round()
    assert [item.reason for item in (await fleet.job(job)).waiting] == ["HELD"]
    await fleet.runtime.database.write(holds.release, job, "bob")
    await fleet.round()
    assert await fleet.places(job) == ["a"]


async def test_a_gang_stays_within_one_pool_and_unseen_pools_get_nothing(fleet):
    fleet.pool("p", row("a"), seen=False)
    fleet.pool("q", row("b"))
    wide = await fleet.submit("wide", workers=2, cpus_per_worker=2, min_workers=1)
    lone = await fleet.submit("lone", cpus_per_worker=4)
    await fleet.round()
    assert await fleet.places(wide) == ["b", "b"]
    waiting = (await fleet.job(lone)).waiting
    assert waiting[0].reason == "NO_ROOM"
    fleet.pool("p", row("a"))
    await fleet.round()
    assert await fleet.places(lone) == ["a"]


async def test_no_pool_answers(fleet):
    fleet.pool("p", row("a"), seen=False)
    job = await fleet.submit()
    await fleet.round()
    assert [item.reason for item in (await fleet.job(job)).waiting] == ["NO_POOL"]


async def test_what_others_use_is_nobodys(fleet):
    fleet.pool("p", row("a", cpus=8), row("b", cpus=8), foreign={"CPU": 10.0})
    job = await fleet.submit(cpus_per_worker=7)
    await fleet.round()
    assert await fleet.places(job) == []
    assert (await fleet.job(job)).waiting[0].reason == "EXCEEDS_EVERY_POOL"


async def test_cordoned_nodes_get_no_work_and_are_named(fleet):
    fleet.pool("p", row("a"), row("b", cpus=1), row("c", cpus=1))
    stub = node_pb2_grpc.NodeServiceStub(fleet.platform.channel)
    user = fleet.platform.user()
    await fleet.round()

    async def mark(state):
        request = node_pb2.UpdateNodeRequest(id="a", state=state)
        return (await stub.UpdateNode(request, metadata=user, timeout=10)).node.state

    assert await mark(node_pb2.NODE_STATE_CORDONED) == node_pb2.NODE_STATE_CORDONED
    job = await fleet.submit(cpus_per_worker=3)
    await fleet.round()
    (reason,) = (await fleet.job(job)).waiting
    assert (reason.reason, reason.about["nodes"]) == ("NODES_UNAVAILABLE", "a")
    assert "cordoned" in reason.message
    await mark(node_pb2.NODE_STATE_READY)
    await fleet.round()
    assert await fleet.places(job) == ["a"]
    listed = await stub.ListNodes(node_pb2.ListNodesRequest(), metadata=user, timeout=10)
    assert {node.id: (node.free["cpu"], list(node.work)) for node in listed.nodes} == {
        "a": (1.0, [job]),
        "b": (1.0, []),
        "c": (1.0, []),
    }
    for _ in range(4):
        for node in "bc":
            await fleet.runtime.database.write(nodes.blame, node)
    await fleet.round()
    listed = await stub.ListNodes(node_pb2.ListNodesRequest(), metadata=user, timeout=10)
    ready, excluded = node_pb2.NODE_STATE_READY, node_pb2.NODE_STATE_EXCLUDED
    assert [node.state for node in listed.nodes] == [ready, excluded, ready], "a third at most"


async def test_whose_node_is_gone_is_stopped_and_waits_again(fleet):
    fleet.pool("p", row("a"))
    job = await fleet.submit()
    await fleet.round()
    fleet.pool("p", row("b"))
    await fleet.round()
    assert (await fleet.job(job)).state == job_pb2.JOB_STATE_STOPPING
    await fleet.runtime.database.write(attempts.finish, job, 1, Stop())
    await fleet.runtime.database.write(attempts.release, job, 1)
    await fleet.runtime.database.write(_ready, job)
    await fleet.round()
    assert await fleet.places(job) == ["b"]
    assert [len(item.nodes) for item in (await fleet.job(job)).attempts] == [1, 1]


async def test_jobs_leave_a_node_that_is_drained(fleet):
    fleet.pool("p", row("a"))
    job = await fleet.submit()
    await fleet.round()
    write = fleet.runtime.database.write
    await write(nodes.set_state, "a", cordoned=False, draining=True, by="bob")
    await fleet.round()
    assert (await fleet.job(job)).state == job_pb2.JOB_STATE_STOPPING
    await fleet.round()
    await write(attempts.finish, job, 1, Stop())
    await write(attempts.release, job, 1)
    await write(_ready, job)
    fleet.pool("p", row("a"), row("b"))
    await fleet.round()
    assert await fleet.places(job) == ["b"]


async def test_what_was_held_is_summed(fleet):
    fleet.pool("p", row("a", cpus=8, gpus=4))
    two = {"accelerator": AcceleratorSpec(type="H100", count=2)}
    jobs_ = [await fleet.submit(name, **two) for name in ("one", "two")]
    plain = await fleet.submit("plain", cpus_per_worker=3, memory_per_worker="2Gi")
    await fleet.round()
    await fleet.runtime.database.write(_ran, {jobs_[0]: 100.0, jobs_[1]: 50.0, plain: 10.0})
    stub = usage_pb2_grpc.UsageServiceStub(fleet.platform.channel)

    async def sums(*by, since=0.0, until=2000.0, user=None):
        request = usage_pb2.ListUsageRequest(by=by)
        request.since.FromMicroseconds(int(since * 1e6))
        request.until.FromMicroseconds(int(until * 1e6))
        who = user or fleet.platform.user()
        with mapped_errors():
            return list((await stub.ListUsage(request, metadata=who, timeout=10)).rows)

    by_type = await sums()
    assert [(item.accelerator, item.accelerator_seconds) for item in by_type] == [
        ("H100", 300.0),
        ("", 0.0),
    ]
    assert (by_type[1].cpu_seconds, by_type[1].memory_gib_seconds) == (30.0, 20.0)
    each = await sums(usage_pb2.USAGE_KEY_JOB)
    assert {item.job: item.accelerator_seconds for item in each}[jobs_[1]] == 100.0
    part = await sums(since=1020.0, until=1040.0)
    assert part[0].accelerator_seconds == 80.0
    stranger = fleet.platform.user("eve", "other", Role.VIEWER)
    assert await sums(user=stranger) == []
    with pytest.raises(errors.InvalidArgumentError):
        await sums(since=5.0, until=5.0)


async def test_a_fault_of_a_node_counts_once_for_a_job(fleet):
    fleet.pool("p", row("a"))
    lost = Failure(category=FailureCategory.WORKER_LOST, reason="WORKER_LOST", message="", rank=0)
    job = await fleet.submit()
    for number in (1, 2):
        connection = fleet.runtime.database
        await connection.write(_ready, job)
        await fleet.round()
        await connection.write(attempts.finish, job, number, Fail(failure=lost))
        await connection.write(attempts.release, job, number)
        await fleet.round()
    (mark,) = (await fleet.runtime.database.read(nodes.marks)).values()
    assert mark.failures == 1.0


async def test_queues_have_their_quota(fleet):
    fleet.pool("p", row("a", cpus=8))
    stub = queue_pb2_grpc.QueueServiceStub(fleet.platform.channel)
    user = fleet.platform.user()

    async def put(name, **fields):
        queue = queue_pb2.Queue(name=name, **fields)
        with mapped_errors():
            request = queue_pb2.PutQueueRequest(queue=queue)
            return (await stub.PutQueue(request, metadata=user, timeout=10)).queue

    await put("root")
    await put("small", parent="root", nominal={"cpu": 2}, borrowing_limit={"cpu": 0})
    with pytest.raises(errors.InvalidArgumentError) as caught, mapped_errors():
        await fleet.platform.submit(queue="root")
    assert (caught.value.reason, "small" in caught.value.message) == ("QUEUE_HAS_CHILDREN", True)
    first, second = [
        (await fleet.platform.submit(name, queue="small", publish=PublishSpec(set=name))).id
        for name in ("one", "two")
    ]
    third = (
        await fleet.platform.submit(
            "three",
            queue="small",
            publish=PublishSpec(set="three"),
            resources=ResourcesSpec(cpus_per_worker=2),
        )
    ).id
    await fleet.round()
    assert await fleet.places(first) == ["a"] == await fleet.places(second)
    (reason,) = (await fleet.job(third)).waiting
    assert reason.reason in {"WAITING_FOR_QUOTA", "BORROWING_LIMIT_REACHED"}
    assert reason.about["queue"] in {"small", "root"}
    listed = await stub.ListQueues(queue_pb2.ListQueuesRequest(), metadata=user, timeout=10)
    small = next(queue for queue in listed.queues if queue.name == "small")
    assert (small.used["cpu"], small.waiting, small.running) == (2.0, 1, 2)
    delete = queue_pb2.DeleteQueueRequest(name="small")
    with pytest.raises(errors.FailedPreconditionError) as refused, mapped_errors():
        await stub.DeleteQueue(delete, metadata=user, timeout=10)
    assert refused.value.reason == "QUEUE_IN_USE"
    await put("small", parent="root", nominal={"cpu": 4})
    await fleet.round()
    assert await fleet.places(third) == ["a"]


async def test_who_comes_first_has_others_go(fleet):
    fleet.pool("p", row("a", gpus=1))
    one = {"accelerator": AcceleratorSpec(type="GPU")}
    low = await fleet.submit("low", **one)
    await fleet.round()
    made = spec("high", priority=5, resources=ResourcesSpec(**one), publish=PublishSpec(set="high"))
    request = job_pb2.CreateJobRequest(spec=made)
    call = fleet.platform.jobs.CreateJob(request, metadata=fleet.platform.user(), timeout=10)
    high = (await call).job.id
    await fleet.round()
    assert (await fleet.job(low)).state == job_pb2.JOB_STATE_STOPPING
    (first, *_) = (await fleet.job(high)).waiting
    assert (first.reason, first.about["held_by"]) == ("PREEMPTING", low)
    await fleet.runtime.database.write(attempts.finish, low, 1, Stop(version=3))
    await fleet.runtime.database.write(attempts.release, low, 1)
    await fleet.round()
    assert await fleet.places(high) == ["a"]
    back = await fleet.job(low)
    assert back.state == job_pb2.JOB_STATE_QUEUED
    assert back.waiting[0].reason in {"BACKOFF", "NO_ROOM"}


async def test_explain_says_what_would_help(fleet):
    fleet.pool("p", row("a", gpus=2))
    two = {"accelerator": AcceleratorSpec(type="H100", count=2)}
    first, second = [await fleet.submit(name, **two) for name in ("one", "two")]
    with pytest.raises(errors.UnavailableError) as early:
        await fleet.explain(second)
    assert early.value.reason == "SCHEDULER_STARTING"
    await fleet.round()
    running = await fleet.explain(first)
    assert (running.pool, list(running.nodes)) == ("p", ["a"])
    waits = await fleet.explain(second)
    assert [item.reason for item in waits.reasons] == ["NO_ROOM"]
    helped = await fleet.explain(second, job_pb2.ExtraNodes(accelerator="H100", count=2))
    assert not helped.reasons
    assert helped.pool == "p"
    useless = await fleet.explain(second, job_pb2.ExtraNodes(accelerator="A100", count=8))
    assert [item.reason for item in useless.reasons] == ["NO_ROOM"]
    assert (await fleet.job(second)).state == job_pb2.JOB_STATE_QUEUED, "nothing was changed"


async def test_a_slice_of_tpus_is_checked_and_taken_whole(fleet):
    hosts = [
        {
            "node_id": f"{name}{number}",
            "state": "ALIVE",
            "resources_total": {"CPU": 8.0, "TPU": 4.0, "accelerator_type:TPU-V6E": 1.0},
            "labels": {"ray.io/tpu-slice-name": name, "ray.io/tpu-topology": "2x4"},
        }
        for name in "st"
        for number in range(2)
    ]
    fleet.pool("p", *hosts)
    await fleet.round()
    asked = AcceleratorSpec(type="TPU-V6E", count=4, topology="2x4")
    with pytest.raises(errors.InvalidArgumentError) as caught:
        await fleet.submit("odd", workers=3, accelerator=asked)
    assert (caught.value.reason, caught.value.violations[0].field) == (
        "TPU_WORKERS",
        "spec.resources.workers",
    )
    job = await fleet.submit("even", workers=2, accelerator=asked)
    await fleet.round()
    assert sorted(await fleet.places(job)) == ["s0", "s1"]


async def test_who_left_its_node_is_placed_again(fleet):
    fleet.runtime.pools._states.clear()
    fleet.pool("p", row("a"))
    config = replace(fleet.runtime.config, shards=1)
    object.__setattr__(fleet.runtime, "config", config)
    await fleet.round()
    standing = await fleet.runtime.database.read(_placement)
    assert [worker.node for worker in standing.workers] == ["a", "a"]
    fleet.pool("p", row("b"))
    await fleet.round()
    moved = await fleet.runtime.database.read(_placement)
    assert [worker.node for worker in moved.workers] == ["b", "b"]


def _ran(connection, seconds):
    """Attempts have begun at second 1000 and run so long."""
    for job, length in seconds.items():
        change = attempt_table.update().where(attempt_table.c.job == job)
        connection.execute(change.values(start_time=1000.0, end_time=1000.0 + length))


def _placement(connection):
    return placements.every(connection)[SERVICES]


def _ready(connection, job):
    """The back-off is over."""
    connection.execute(table.update().where(table.c.id == job).values(not_before=0.0))
    changes.touch(connection, changes.ChangeKind.JOB, job)
