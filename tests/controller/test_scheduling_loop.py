"""The scheduler at work in a controller: what it decides is stored, and what is stored it knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from controllers import spec
from scheduled_fleet import row

from tessera import errors
from tessera.api.controller.v1 import (
    job_pb2,
)
from tessera.api.controller.v1.spec_pb2 import AcceleratorSpec, PublishSpec, ResourcesSpec
from tessera.attempt.failure import Failure, FailureCategory
from tessera.controller.policy.job import Cancel, Fail, Stop
from tessera.controller.policy.workloads import SERVICES
from tessera.controller.store import attempts, changes, holds, jobs, nodes, placements
from tessera.controller.store.schema import jobs as table


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
    fleet.pool("p")
    await fleet.round()
    await fleet.round()
    lost = await fleet.runtime.database.read(_placement)
    assert (lost.pool, lost.workers) == ("p", ()), "it waits, in the pool of its folders"
    fleet.pool("p", row("c"))
    await fleet.round()
    found = await fleet.runtime.database.read(_placement)
    assert [worker.node for worker in found.workers] == ["c", "c"]


def _placement(connection):
    return placements.every(connection)[SERVICES]


def _ready(connection, job):
    """The back-off is over."""
    connection.execute(table.update().where(table.c.id == job).values(not_before=0.0))
    changes.touch(connection, changes.ChangeKind.JOB, job)
