"""What one tenant's token can hold open, and how another tenant fares meanwhile."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections import Counter
from contextlib import ExitStack

import grpc
import pytest

from tessera import errors
from tessera.api.parameters.v1 import coordinator_pb2 as pb
from tessera.api.parameters.v1 import coordinator_pb2_grpc as pb_grpc
from tessera.api.parameters.v1 import manifest_pb2, shard_pb2, shard_pb2_grpc
from tessera.rpc.channel import aio_channel, bearer, data_channel, mapped_errors
from tessera.rpc.limits import CALLS, STREAMS
from tessera.rpc.status import from_rpc_error

pytestmark = pytest.mark.processes

WATCHERS = 2000
"""Of one connection; more than one principal gets, and than gRPC lets wait by itself."""
MOST = -(-CALLS // 3)
"""What a principal alone gets."""


@pytest.fixture(scope="session")
def writers(served):
    """A grant for each tenant's set."""
    grants = {}
    with grpc.insecure_channel(served.addresses["coordinator"]) as channel, mapped_errors():
        stub = pb_grpc.CoordinatorServiceStub(channel)
        for tenant, token in served.tokens.items():
            name, metadata = f"{tenant}/s", bearer(token)
            acquire = pb.AcquireWriterRequest(set=name, job="j", attempt=1)
            epoch = stub.AcquireWriter(acquire, metadata=metadata, timeout=20).epoch
            tensor = manifest_pb2.Tensor(group="model", name="w", shape=[1], dtype="F32")
            opening = pb.OpenVersionRequest(set=name, epoch=epoch, tensors=[tensor])
            grants[tenant] = stub.OpenVersion(opening, metadata=metadata, timeout=20).grant
    return grants


class Pushes:
    """Push streams that name their target, and then say nothing."""

    def __init__(self, served, tenant, grant) -> None:
        self._target = shard_pb2.PushSlicesRequest(target={"set": f"{tenant}/s", "grant": grant})
        self._metadata = bearer(served.tokens[tenant])
        self._channel = data_channel(served.addresses["data"])
        self._push = shard_pb2_grpc.ShardDataServiceStub(self._channel).PushSlices
        self._ended = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._channel.close()

    def idle(self):
        def sent():
            yield self._target
            self._ended.wait(60)

        return self._push.future(sent(), metadata=self._metadata, timeout=60)

    def whole(self) -> float:
        """Seconds of an empty push."""
        begin = time.perf_counter()
        with mapped_errors():
            self._push(iter([self._target]), metadata=self._metadata, timeout=20)
        return time.perf_counter() - begin


def bearable(quiet, loaded):
    """On an idle machine it is less than twice as long; here others run tests beside."""
    return statistics.median(loaded) <= 4 * statistics.median(quiet) + 0.05


@pytest.mark.measures
def test_idle_pushes_of_one_tenant_keep_no_thread_from_another(served, writers):
    with ExitStack() as stack:
        mine = stack.enter_context(Pushes(served, "a", writers["a"]))
        theirs = stack.enter_context(Pushes(served, "b", writers["b"]))
        quiet = [theirs.whole() for _ in range(10)]
        calls = [mine.idle() for _ in range(3 * STREAMS)]
        loaded = [theirs.whole() for _ in range(10)]
        assert bearable(quiet, loaded)
        refused = [call for call in calls if call.done()]
        deadline = time.monotonic() + 10
        while len(refused) < 2 * STREAMS and time.monotonic() < deadline:
            time.sleep(0.05)
            refused = [call for call in calls if call.done()]
        # A third is what a principal alone gets.
        assert len(calls) - len(refused) == STREAMS // 3
        told = [from_rpc_error(call.exception()) for call in refused]
        assert {(type(e), e.reason) for e in told} == {
            (errors.ResourceExhaustedError, "TOO_MANY_CALLS")
        }
        assert all(error.retry_after for error in told)


@pytest.mark.measures
async def test_watchers_of_one_tenant_keep_none_of_another_away(served, writers):
    a, b = (bearer(served.tokens[tenant]) for tenant in ("a", "b"))
    async with (
        aio_channel(served.addresses["coordinator"]) as mine,
        aio_channel(served.addresses["coordinator"]) as theirs,
    ):
        watch = pb_grpc.CoordinatorServiceStub(mine).WatchSet
        other = pb_grpc.CoordinatorServiceStub(theirs)

        async def listing() -> float:
            begin = time.perf_counter()
            await other.ListSets(pb.ListSetsRequest(), metadata=b, timeout=20)
            return time.perf_counter() - begin

        quiet = [await listing() for _ in range(20)]
        calls = [
            watch(pb.WatchSetRequest(set="a/s"), metadata=a, timeout=60) for _ in range(WATCHERS)
        ]
        ends = [asyncio.ensure_future(call.code()) for call in calls]
        async with asyncio.timeout(30):
            for _, end in zip(range(WATCHERS - MOST), asyncio.as_completed(ends), strict=False):
                await end
        loaded = [await listing() for _ in range(20)]
        assert bearable(quiet, loaded)
        assert Counter(end.result() for end in ends if end.done()) == {
            grpc.StatusCode.RESOURCE_EXHAUSTED: WATCHERS - MOST
        }
        late = other.WatchSet(pb.WatchSetRequest(set="b/s"), metadata=b, timeout=1)
        assert await late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        refused = watch(pb.WatchSetRequest(set="a/s"), metadata=a, timeout=20)
        with pytest.raises(errors.ResourceExhaustedError) as caught, mapped_errors():
            await refused.read()
        assert (caught.value.reason, caught.value.retry_after) == ("TOO_MANY_CALLS", 1.0)
        for end in ends:
            end.cancel()
