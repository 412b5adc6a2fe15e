"""Queues, nodes, reasons and usage, as people ask for them."""

from __future__ import annotations

import pytest
from scheduled_fleet import row

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
from tessera.controller.store import nodes
from tessera.controller.store.schema import attempts as attempt_table
from tessera.rpc.channel import mapped_errors
from tessera.rpc.principal import Role


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
    late = await fleet.submit("late", **two)
    unknown = await fleet.explain(late, job_pb2.ExtraNodes(accelerator="H100", count=2))
    assert not unknown.reasons, "no round has looked at it yet"
    useless = await fleet.explain(second, job_pb2.ExtraNodes(accelerator="A100", count=8))
    assert [item.reason for item in useless.reasons] == ["NO_ROOM"]
    assert (await fleet.job(second)).state == job_pb2.JOB_STATE_QUEUED, "nothing was changed"


def _ran(connection, seconds):
    """Attempts have begun at second 1000 and run so long."""
    for job, length in seconds.items():
        change = attempt_table.update().where(attempt_table.c.job == job)
        connection.execute(change.values(start_time=1000.0, end_time=1000.0 + length))
