"""Headers of calls that are no text: of anybody who reaches the port, without a token."""

from __future__ import annotations

import asyncio
import random
import struct

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.api.parameters.v1 import shard_pb2
from tessera.rpc.channel import aio_channel
from tessera.rpc.data_server import DataServer
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.limits import LIMITS
from tessera.rpc.server import Server

pytestmark = pytest.mark.waits

NAME = "tessera.api.inference.v1.InferenceService"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
HEADERS = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": f"/{NAME}/GetModel".encode(),
    b":authority": b"x",
    b"content-type": b"application/grpc",
    b"te": b"trailers",
    b"grpc-timeout": b"1S",
    b"grpc-encoding": b"identity",
    b"user-agent": b"x",
    b"authorization": b"Bearer x",
    b"x-of-nobody": b"x",
}
PATHS = [b"\xdb\x01", b"/a/\xff", f"/{NAME}/GetModel".encode() + b"\xc3", b"/\x80/" * 20, b"/", b""]


def headers(fields):
    encoded = b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields
    )
    return struct.pack(">I", len(encoded))[1:] + b"\1\5\0\0\0\1" + encoded


@pytest.fixture
async def address():
    issuer = Issuer(Issuer.generate_key())
    register = lambda server: pb_grpc.add_InferenceServiceServicer_to_server(  # noqa: E731
        pb_grpc.InferenceServiceServicer(), server
    )
    server = Server(Door(Verifier([issuer.public_key()])), [(NAME, register)])
    yield f"127.0.0.1:{await server.start()}"
    await server.drain(grace=0)


async def send(address, data):
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + data)
    try:
        async with asyncio.timeout(0.05):
            await reader.read(-1)
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()


async def still_serves(address, watch):
    """A new call is answered, and one that is under way goes on."""
    async with aio_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert not watch.done()


@pytest.fixture
async def watch(address):
    async with aio_channel(address) as channel:
        call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await call.read()
        yield call
        call.cancel()


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_that_is_no_text_ends_nothing(address, watch, path):
    await send(address, headers((HEADERS | {b":path": path}).items()))
    await still_serves(address, watch)


@pytest.mark.parametrize("name", HEADERS)
async def test_no_header_ends_anything(address, watch, name):
    chance = random.Random(name)
    for size in (0, 1, 2, 7, 60):
        await send(address, headers((HEADERS | {name: chance.randbytes(size)}).items()))
    await still_serves(address, watch)


async def test_names_that_are_no_text_end_nothing(address, watch):
    for name in (b"\xff", b"x-\xc3", b":\xdb", b"X-Y", b""):
        await send(address, headers([*HEADERS.items(), (name, b"x")]))
    await still_serves(address, watch)


async def test_a_method_that_nobody_registered_is_unimplemented(address, watch):
    async with aio_channel(address) as channel:
        for path in (f"/{NAME}/Unheard", "/a/b", "/grpc.health.v1.Health/Stop"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"", timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await still_serves(address, watch)


@pytest.mark.parametrize("path", PATHS)
async def test_servers_of_threads_go_on_too(path):
    issuer = Issuer(Issuer.generate_key())
    name = shard_pb2.DESCRIPTOR.services_by_name["ShardDataService"].full_name
    server = DataServer(
        Door(Verifier([issuer.public_key()])), name, lambda _: None, limits=LIMITS, listener=None
    )
    address = f"127.0.0.1:{server.start('127.0.0.1')}"
    try:
        await send(address, headers((HEADERS | {b":path": path}).items()))
        async with aio_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/{name}/Unheard")(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        server.stop(0)
