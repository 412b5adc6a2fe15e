"""Shards that join, are drained, are away for long, and come back, while versions are read."""

from __future__ import annotations

import contextlib
import time

import pytest

from tessera import background, errors
from tessera.api.controller.v1 import registry_pb2, registry_pb2_grpc
from tessera.parameters import copies, reconciler
from tessera.parameters.config import ServiceAddress, ShardConfig
from tessera.parameters.nodes import ShardNode
from tessera.parameters.services.shard import ShardControl
from tessera.rpc.channel import bearer, channel
from tessera.rpc.registration import build_version, endpoint
from tessera.weights import holding
from tessera.weights.coordinator import Coordinator

pytestmark = pytest.mark.waits


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(holding.AWAY, "_until", {})
    monkeypatch.setattr(copies, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(reconciler, "LOOK_SECONDS", 0.1)


@pytest.fixture
def start(platform, tmp_path):
    """Starts a service of that many shards with so many copies."""

    def run(shards, replicas, **more):
        return platform.start_parameters(tmp_path, shards=shards, replicas=replicas, **more)

    yield run
    platform.stop_parameters()


@pytest.fixture
def join(platform, tmp_path):
    """Adds a shard to a service; returns what ends it."""
    with contextlib.ExitStack() as added:

        def add(running, index):
            token = platform.node_tokens()[index + 1]
            place = ServiceAddress(controller=platform.address, token=token)
            node = ShardNode(ShardConfig(index=index, data_dir=tmp_path / f"shard-{index}"), place)
            running._run(node.start())
            ended = added.enter_context(contextlib.ExitStack())
            ended.callback(lambda: running._run(node.stop()))
            return ended.close

        yield add


def until(what, seconds=20.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def shards(operator):
    return {shard.name: shard for shard in operator.list_shards()}


@pytest.fixture
def operator(platform):
    client = Coordinator(platform.address, platform.token, patience=5)
    yield client
    client.close()


def holders(writer):
    manifest = writer.client.get_manifest(writer.set)
    return {one.piece: set(manifest.holders(one.shard, one.piece)) for one in manifest.slices}


def test_a_shard_joins_takes_its_part_and_is_drained_again(start, another, join, operator):
    running = start(2, 1)
    writer = another()
    writer.publish(1)
    end = join(running, 2)
    until(lambda: "shard-2" in shards(operator))
    writer.publish(2)
    assert set.union(*holders(writer).values()) == {"shard-0", "shard-1", "shard-2"}
    operator.drain_shard("shard-2")
    assert writer.check() == 2
    until(lambda: not shards(operator)["shard-2"].needed_pieces)
    writer.publish(3)
    assert "shard-2" not in set.union(*holders(writer).values())
    end()
    operator.remove_shard("shard-2")
    assert set(shards(operator)) == {"shard-0", "shard-1"}
    assert [writer.check(number) for number in (1, 2, 3)] == [1, 2, 3]


def test_what_may_not_be_drained_or_removed(start, operator):
    start(2, 1)
    for method in (operator.drain_shard, operator.remove_shard):
        with pytest.raises(errors.NotFoundError) as caught:
            method("shard-7")
        assert caught.value.reason == "SHARD_NOT_FOUND"
    with pytest.raises(errors.FailedPreconditionError) as caught:
        operator.remove_shard("shard-0")
    assert caught.value.reason == "NOT_DRAINING"
    operator.drain_shard("shard-0")
    with pytest.raises(errors.FailedPreconditionError) as caught:
        operator.drain_shard("shard-1")
    assert caught.value.reason == "LAST_SHARD"
    operator.drain_shard("shard-0", undo=True)
    assert not shards(operator)["shard-0"].draining


def test_copies_of_a_shard_that_stays_away_are_made_elsewhere(start, another, operator):
    running = start(3, 2, lost_seconds=1.0)
    writer = another()
    writer.publish(1)
    running.stop_shard(0)
    until(lambda: all(len(found - {"shard-0"}) == 2 for found in holders(writer).values()))
    assert not shards(operator)["shard-0"].available
    running.stop_shard(1)
    assert writer.check() == 1
    running.start_shard(1)
    writer.publish(2)
    assert "shard-0" not in set.union(*holders(writer).values())
    running.start_shard(0)
    until(lambda: shards(operator)["shard-0"].available)
    writer.publish(3)
    assert [writer.check(number) for number in (1, 2, 3)] == [1, 2, 3]


def test_a_coordinator_that_begins_without_a_shard_serves_and_takes(  # noqa: PLR0917
    start, another, platform, operator, tmp_path, monkeypatch
):
    monkeypatch.setattr(reconciler, "BEGIN_SECONDS", 0.5)
    start(3, 2)
    writer = another()
    writer.publish(1)
    platform.stop_parameters()
    platform.start_parameters(tmp_path, shards=2, replicas=2, lost_seconds=1.0)
    assert writer.check() == 1
    writer.acquire()
    writer.publish(2)
    assert writer.check() == 2
    until(lambda: all(len(found - {"shard-2"}) == 2 for found in holders(writer).values()))
    assert shards(operator)["shard-2"].needed_pieces == 0


def test_a_shard_of_another_store_is_not_taken_in(start, another, join, operator, tmp_path):
    running = start(3, 1)
    another("other").publish(1)
    running.stop()
    for name in ("coordinator", "shard-0", "shard-1"):
        (tmp_path / name).rename(tmp_path / f"kept-{name}")
    running = start(2, 1)
    writer = another()
    writer.publish(1)
    join(running, 2)
    time.sleep(1.0)
    assert set(shards(operator)) == {"shard-0", "shard-1"}
    writer.publish(2)
    assert writer.check() == 2


def test_readers_go_on_while_shards_come_and_go(start, another):
    running = start(3, 2)
    writer = another()
    writer.publish(1)
    for index in (0, 1, 2) * 2:
        running.stop_shard(index)
        begin = time.monotonic()
        assert writer.check(1) == 1
        assert time.monotonic() - begin < 2.0
        running.start_shard(index)


def test_what_registers_as_a_shard_and_is_none_hinders_nobody(start, another, platform, operator):
    start(2, 1)
    writer = another()
    writer.publish(1)
    for index, bulk in ((2, platform.address), (3, "")):
        token = platform.node_tokens()[index + 1]
        role, name = registry_pb2.ROLE_SHARD, f"shard-{index}"
        said = endpoint(role, name, platform.address, data_address=bulk, labels={})
        said.build = build_version()
        with channel(platform.address) as connection:
            registry_pb2_grpc.RegistryServiceStub(connection).Register(
                registry_pb2.RegisterRequest(endpoint=said), metadata=bearer(token)
            )
    time.sleep(0.5)
    writer.acquire()
    writer.publish(2)
    assert [writer.check(number) for number in (1, 2)] == [1, 2]
    assert set(shards(operator)) == {"shard-0", "shard-1"}


def test_a_shard_that_answers_late_counts_as_away_and_is_asked_again(
    start, another, platform, monkeypatch
):
    start(2, 1)
    another("late").publish(1)
    platform.stop_parameters()
    held, asked, broken = ShardControl._held, [], []

    def late(control, request):
        if request.check:
            asked.append(control)
            time.sleep(1.0 if len(asked) <= 2 else 0.0)
        return held(control, request)

    monkeypatch.setattr(ShardControl, "_held", late)
    monkeypatch.setattr(reconciler, "CHECK_SECONDS", 0.3)
    monkeypatch.setattr(background.log, "exception", lambda *what, **_: broken.append(what))
    start(2, 1)
    until(lambda: len(asked) == 2 * 2)
    assert another("late").check() == 1
    assert not broken
