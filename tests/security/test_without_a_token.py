"""Who has no token costs a server next to nothing, whatever he sends."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

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


class Watched:
    """How large the servers' process becomes, and how long a health check takes meanwhile."""

    def __init__(self, served) -> None:
        self._rss = served.rss
        self._channel = grpc.insecure_channel(served.addresses["controller"])
        self._check = health_pb2_grpc.HealthStub(self._channel).Check
        self._check(health_pb2.HealthCheckRequest(), timeout=10)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._weigh, self._ask)]
        self.seconds = []
        self.before = self.peak = served.rss()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        time.sleep(0.1)
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._channel.close()

    def _weigh(self) -> None:
        while not self._ended.is_set():
            self.peak = max(self.peak, self._rss())
            time.sleep(0.005)

    def _ask(self) -> None:
        while not self._ended.is_set():
            begin = time.perf_counter()
            self._check(health_pb2.HealthCheckRequest(), timeout=30)
            self.seconds.append(time.perf_counter() - begin)
            time.sleep(0.005)


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
