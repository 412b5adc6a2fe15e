"""Calls go where they are sent, whatever proxies the environment names."""

from __future__ import annotations

import itertools
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tessera import errors
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
    "told",
    [
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    ],
)
def test_a_peer_that_is_another_is_not_there(told):
    with (
        pytest.raises(errors.UnavailableError, match="the driver") as caught,
        channel.peer_errors("the driver", "DRIVER_UNAVAILABLE"),
    ):
        _fail(told)
    assert caught.value.reason == "DRIVER_UNAVAILABLE"


def test_what_a_peer_says_of_the_request_is_passed_on():
    with pytest.raises(errors.NotFoundError), channel.peer_errors("the driver", "X"):
        _fail(grpc.StatusCode.NOT_FOUND)


def _fail(code):
    """Call a server that answers with a status."""

    def answer(_, context):
        context.abort(code, "no")

    handlers = {"Check": grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(futures.ThreadPoolExecutor(2))
    generic = grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers)
    server.add_generic_rpc_handlers((generic,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with channel.channel(f"127.0.0.1:{port}") as connection:
            health_pb2_grpc.HealthStub(connection).Check(health_pb2.HealthCheckRequest(), timeout=5)
    finally:
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
