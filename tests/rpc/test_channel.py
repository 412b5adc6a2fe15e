"""Calls go where they are sent, whatever proxies the environment names."""

from __future__ import annotations

import itertools
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tessera.rpc import channel
from tessera.rpc.address import join

NOWHERE = "http://127.0.0.1:9"
NAMES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
EVERY = [*NAMES, *(name.upper() for name in NAMES)]


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def address(request):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port(join(request.param, 0))
    server.start()
    yield join(request.param, port)
    server.stop(0)


@pytest.mark.parametrize(
    ("proxies", "exceptions"),
    [
        *itertools.product([(name,) for name in EVERY], [None]),
        *itertools.product([tuple(EVERY)], [None, "localhost", "example.org", "127.0.0.0/8"]),
    ],
    ids=str,
)
def test_no_proxy_is_asked(address, proxies, exceptions, monkeypatch):
    for name in (*EVERY, "no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in proxies:
        monkeypatch.setenv(name, NOWHERE)
    if exceptions:
        monkeypatch.setenv("no_proxy", exceptions)
    for make in (channel.channel, channel.data_channel):
        with make(address) as connection:
            health_pb2_grpc.HealthStub(connection).Check(
                health_pb2.HealthCheckRequest(), timeout=10
            )


async def test_no_proxy_is_asked_by_a_loop(address, monkeypatch):
    for name in EVERY:
        monkeypatch.setenv(name, NOWHERE)
    async with channel.aio_channel(address) as connection:
        stub = health_pb2_grpc.HealthStub(connection)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
