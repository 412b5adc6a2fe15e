"""Who has no token costs a server next to nothing, whatever he sends."""

from __future__ import annotations

import statistics
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from .watched import Watched

pytestmark = pytest.mark.processes

BODY = bytes(33 << 20)
GROWTH_MIB = 32
API = "tessera.api"
METHODS = {
    "CreateJob": ("controller", f"/{API}.controller.v1.JobService/CreateJob"),
    "PutBlob": ("controller", f"/{API}.controller.v1.BlobService/PutBlob"),
    "ExchangeTicket": ("controller", f"/{API}.controller.v1.IdentityService/ExchangeTicket"),
    "OpenVersion": ("coordinator", f"/{API}.parameters.v1.CoordinatorService/OpenVersion"),
    "DropVersion": ("shard", f"/{API}.parameters.v1.ShardService/DropVersion"),
    "PushSlices": ("data", f"/{API}.parameters.v1.ShardDataService/PushSlices"),
    "PullSlices": ("data", f"/{API}.parameters.v1.ShardDataService/PullSlices"),
    "Generate": ("replica", f"/{API}.inference.v1.InferenceService/Generate"),
    "Check": ("replica", "/grpc.health.v1.Health/Check"),
}
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


@pytest.mark.measures
@pytest.mark.parametrize("name", METHODS)
def test_large_calls_over_many_connections_leave_a_server_as_it_was(served, name):
    server, path = METHODS[name]
    channels = [grpc.insecure_channel(served.addresses[server], OPTIONS) for _ in range(8)]

    def call(channel):
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(path)(iter([BODY]), timeout=30)
        return caught.value.code()

    with Watched(served) as watched, ThreadPoolExecutor(24) as pool:
        codes = set(pool.map(call, channels * 3))
    for channel in channels:
        channel.close()
    public = name in {"ExchangeTicket", "Check"}
    wanted = grpc.StatusCode.RESOURCE_EXHAUSTED if public else grpc.StatusCode.UNAUTHENTICATED
    assert codes == {wanted}
    assert watched.peak - watched.before <= GROWTH_MIB
    assert statistics.median(watched.seconds) <= 0.5


def test_a_body_that_never_comes_is_not_waited_for(served):
    """Refused by its metadata, before a byte was sent."""
    ended = threading.Event()

    def nothing():
        ended.wait(20)
        yield b""

    for server, path in METHODS.values():
        if "Identity" in path or "Health" in path:
            continue
        with grpc.insecure_channel(served.addresses[server]) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.stream_unary(path)(nothing(), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    ended.set()
