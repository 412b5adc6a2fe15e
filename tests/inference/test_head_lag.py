"""How far a replica is behind its set, and what it does then."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.inference.head_lag import HeadLag
from tessera.rpc.channel import mapped_errors
from tessera.weights.coordinator import Coordinator

from .replicas import Client, Writer, active
from .served import slow_down

EVENTS = st.lists(
    st.tuples(st.just("head"), st.integers(1, 4), st.integers(1, 3)) | st.just(("switch", 0, 0)),
    max_size=20,
)


@given(EVENTS)
def test_moves_are_counted_since_what_is_served_was_the_head(events):
    """A head becomes a version, some moves after the last; or the version wanted is served."""
    lag, heads, served, move = HeadLag(), {}, 0, 0
    for kind, version, moves in events:
        if kind == "head":
            move += moves
            heads[move] = version
            lag.heard(version, move)
        elif heads:
            served = heads[move]
            lag.serves(served, move)
        was = [at for at, version in heads.items() if served and version == served]
        assert lag.lag == (move - max(was) if was else 0)
        assert lag.move == move


@given(EVENTS, st.integers(0, 3))
def test_a_version_that_is_loaded_late_is_behind_by_what_came_meanwhile(events, since):
    lag = HeadLag()
    lag.heard(1, 1)
    for number in range(since):
        lag.heard(10 + number, 2 + number)
    lag.serves(1, 1)
    assert lag.lag == since


def unfit(tiny):
    """Assets of a version that no replica can load."""
    return {"config.json": tiny.model(1, layers=3).config.to_json().encode()}


async def behind_by(client, lag):
    return await client.until(lambda status: status.lag == lag)


@pytest.mark.processes
async def test_one_that_is_too_far_behind_takes_no_new_requests(platform, serve, tiny):
    writer = Writer(platform, "lagging")
    good = writer.publish(tiny.model(1))
    platform.deploy("lagging", "lagging", max_lag=1)
    client = await serve("lagging")
    await client.until(active(good))
    # What can never be loaded leaves it behind for as long as the test wants.
    writer.publish(tiny.model(2), **unfit(tiny))
    status = await behind_by(client, 1)
    assert status.state == pb.REPLICA_STATE_ACTIVE
    expected = (good, tiny.naive(tiny.model(1), (1,), 5))
    assert await client.generate((1,), 5) == expected
    writer.publish(tiny.model(2), **unfit(tiny))
    status = await behind_by(client, 2)
    assert (status.state, status.version) == (pb.REPLICA_STATE_BEHIND, good)
    assert "is 2 moves of the head behind, and max_lag is 1" in status.message
    with pytest.raises(errors.UnavailableError, match="max_lag is 1") as refused:
        await client.generate((1,), 5)
    assert refused.value.reason == "NOT_READY"
    await asyncio.sleep(0.3)
    assert await client.health() == "NOT_SERVING"
    shown = await asyncio.to_thread(platform.deployment, "lagging")
    assert shown.state == deployment_pb2.DEPLOYMENT_STATE_PENDING
    assert "max_lag is 1" in shown.message
    # What it serves can still be looked at.
    with mapped_errors():
        digests = await client.steering.GetDigests(
            pb.GetDigestsRequest(), metadata=client.metadata, timeout=10
        )
    assert digests.version == good
    better = writer.publish(tiny.model(3))
    await client.until(active(better))
    assert await client.generate((1,), 5) == (better, tiny.naive(tiny.model(3), (1,), 5))
    assert (await client.status()).lag == 0


@pytest.mark.processes
async def test_a_rollback_to_what_it_serves_brings_it_back(platform, serve, tiny):
    writer = Writer(platform, "rolled")
    good = writer.publish(tiny.model(1))
    platform.deploy("rolled", "rolled", max_lag=0)
    client = await serve("rolled")
    await client.until(active(good))
    writer.publish(tiny.model(2), **unfit(tiny))
    assert (await behind_by(client, 1)).state == pb.REPLICA_STATE_BEHIND
    person = Coordinator(platform.address, platform.token)
    await asyncio.to_thread(person.rollback_set, "default/rolled", good)
    person.close()
    await client.until(active(good))
    assert (await client.status()).lag == 0
    writer.publish(tiny.model(2), **unfit(tiny))
    assert (await behind_by(client, 1)).state == pb.REPLICA_STATE_BEHIND


@pytest.mark.processes
async def test_what_was_begun_ends(platform, tiny):
    writer = Writer(platform, "begun")
    good = writer.publish(tiny.model(1))
    platform.deploy("begun", "begun", max_lag=0)
    replica = await platform.replica("begun")
    client = Client(platform, replica.address, "begun")
    try:
        await client.until(active(good))
        slow_down(replica.state.engine, 0.03)
        request = pb.GenerateRequest(
            model="begun",
            tokens=pb.Tokens(ids=[1]),
            max_tokens=50,
            sampling=pb.Sampling(temperature=0),
        )
        call = client.inference.Generate(request, metadata=client.metadata, timeout=30)
        parts = aiter(call)
        tokens = list((await anext(parts)).tokens)
        await asyncio.to_thread(writer.publish, tiny.model(2), **unfit(tiny))
        assert (await behind_by(client, 1)).running == 1
        async for part in parts:
            assert part.version == good
            tokens += part.tokens
        assert tokens == tiny.naive(tiny.model(1), (1,), 50)
    finally:
        await client.channel.close()
        await replica.stop(0.1)


@pytest.mark.processes
async def test_without_a_bound_it_serves_however_far_it_is_behind(platform, serve, tiny):
    writer = Writer(platform, "unbounded")
    good = writer.publish(tiny.model(1))
    platform.deploy("unbounded", "unbounded")
    client = await serve("unbounded")
    await client.until(active(good))
    for _ in range(3):
        writer.publish(tiny.model(2), **unfit(tiny))
    status = await behind_by(client, 3)
    assert status.state == pb.REPLICA_STATE_ACTIVE
    assert await client.generate((1,), 5) == (good, tiny.naive(tiny.model(1), (1,), 5))
