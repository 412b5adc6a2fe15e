"""What one tenant's token can make a server take in, and how fast."""

from __future__ import annotations

import asyncio
import statistics
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tessera.rpc.channel import bearer
from tessera.rpc.policy.cost import MIB
from tessera.rpc.principal import ANONYMOUS, Principal, Role
from tessera.rpc.receiving import LEAST, RECEIVED_BYTES, Receiving
from tessera.rpc.turns import Turns

from .watched import Watched

API = "tessera.api"
METHODS = {
    "ListSets": ("coordinator", f"/{API}.parameters.v1.CoordinatorService/ListSets", 33),
    "OpenVersion": ("coordinator", f"/{API}.parameters.v1.CoordinatorService/OpenVersion", 33),
    "PullSlices": ("data", f"/{API}.parameters.v1.ShardDataService/PullSlices", 33),
    "PushSlices": ("data", f"/{API}.parameters.v1.ShardDataService/PushSlices", 15),
    "GetModel": ("replica", f"/{API}.inference.v1.InferenceService/GetModel", 15),
    "Generate": ("replica", f"/{API}.inference.v1.InferenceService/Generate", 33),
    "CreateJob": ("controller", f"/{API}.controller.v1.JobService/CreateJob", 33),
}
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
ADA, BOB = (Principal(subject=name, role=Role.SUBMITTER, tenant="t") for name in ("ada", "bob"))
EVE = Principal(subject="eve", role=Role.SUBMITTER, tenant="u")


@pytest.mark.measures
@pytest.mark.processes
@pytest.mark.parametrize("name", METHODS)
def test_large_calls_with_a_token_take_no_more_than_a_principals_share(served, name):
    server, path, size = METHODS[name]
    channels = [grpc.insecure_channel(served.addresses[server], OPTIONS) for _ in range(8)]
    body, metadata = bytes(size * MIB), bearer(served.tokens["a"])

    def call(channel):
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(path)(iter([body]), metadata=metadata, timeout=5)
        return caught.value.code()

    with Watched(served) as watched, ThreadPoolExecutor(24) as pool:
        codes = set(pool.map(call, channels * 3))
    for channel in channels:
        channel.close()
    growth = watched.peak - watched.before
    print(f"\n{name}: +{growth:.0f} MiB, {codes}")  # noqa: T201 - the numbers are what it is for
    # Some only wait until they give up: so many bytes are not taken in at once.
    assert codes <= {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INVALID_ARGUMENT,
    }
    places = max(LEAST, RECEIVED_BYTES // MIB // 16) // 3 + 1
    # Twice for a moment, and what the allocator keeps; all at once would be 360 MiB at least.
    assert growth <= 2 * places * size + 64
    assert statistics.median(watched.seconds) <= 0.5


async def hold(it, caller, kind="request"):
    """Be received, without end."""
    async with getattr(it, kind)(caller):
        await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["request", "message"])
async def test_places_are_shared(kind):
    it = Receiving(64 * MIB)
    slow = [asyncio.create_task(hold(it, ADA, kind)) for _ in range(20)]
    slow += [asyncio.create_task(hold(it, BOB, kind)) for _ in range(20)]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(1), getattr(it, kind)(EVE):
        pass
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), getattr(it, kind)(ADA):
            pass
    for caller in (ANONYMOUS, Principal(subject="c", role=Role.CONTROLLER)):
        async with asyncio.timeout(1), getattr(it, kind)(caller):
            pass
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    async with asyncio.timeout(1), getattr(it, kind)(ADA):
        pass


async def test_a_slow_upload_keeps_no_call_waiting():
    it = Receiving(4 * MIB)
    slow = [asyncio.create_task(hold(it, ADA, "message")) for _ in range(100)]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(1), it.request(ADA):
        pass
    for task in slow:
        task.cancel()


async def test_bytes_have_a_rate():
    now, slept = [0.0], []

    async def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    it = Receiving(64 * MIB, lambda: now[0], sleep)

    async def receive(caller, size):
        async with it.request(caller):
            pass
        it.count(caller, size)

    for _ in range(1000):  # What is small has none.
        await receive(ADA, 1000)
    assert not any(slept)
    for _ in range(20):
        await receive(ADA, 16 * MIB)
    assert now[0] == pytest.approx(18, rel=0.1)
    slept.clear()
    await receive(EVE, 15 * MIB)
    await receive(EVE, 1)
    assert not any(slept)
    await receive(BOB, 1)  # Of one tenant, but the tenant has more than one of its principals.
    assert not any(slept)


async def test_who_waits_is_served_in_turn_and_may_give_up():
    turns, order = Turns(1), []
    await turns.take("t", "holder")

    async def one(name):
        await turns.take("t", name)
        order.append(name)
        turns.give("t", name)

    tasks = [asyncio.create_task(one(name)) for name in "aaaab"]
    gone = asyncio.create_task(one("gone"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    turns.give("t", "holder")
    await asyncio.gather(*tasks)
    assert order.index("b") == 1
    assert not turns.taken
    assert not turns._waiting


async def test_a_turn_that_comes_when_nobody_wants_it_goes_on():
    turns = Turns(1)
    await turns.take("t", "a")
    first, second = (asyncio.create_task(turns.take("t", name)) for name in ("b", "c"))
    await asyncio.sleep(0)
    turns.give("t", "a")
    first.cancel()
    await asyncio.wait_for(second, 1)
    turns.give("t", "c")
    assert not turns.taken
