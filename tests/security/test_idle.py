"""Who sends nothing is not waited for: requests, streams, connections."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import replace
from functools import partial

import grpc
import pytest

from tessera import errors
from tessera.api.controller.v1 import pool_pb2, pool_pb2_grpc
from tessera.api.parameters.v1 import (
    coordinator_pb2,
    coordinator_pb2_grpc,
    shard_pb2,
    shard_pb2_grpc,
)
from tessera.rpc import channel as options
from tessera.rpc.channel import aio_channel, bearer, channel, mapped_errors
from tessera.rpc.data_server import DataServer
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.limits import CallLimits
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server

pytestmark = pytest.mark.waits

ISSUER = Issuer(Issuer.generate_key())
DOOR = Door(Verifier([ISSUER.public_key()]))
ADA = bearer(ISSUER.issue(Principal(subject="ada", role=Role.SUBMITTER, tenant="t")))
LIMITS = CallLimits(request_seconds=0.2, idle_seconds=0.3)
PATIENT = CallLimits(idle_seconds=1)
BLOBS = "tessera.api.controller.v1.BlobService"
COORDINATOR = "tessera.api.parameters.v1.CoordinatorService"
DATA = "tessera.api.parameters.v1.ShardDataService"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
"""With empty settings: an HTTP/2 connection that then says nothing."""


class Blobs(pool_pb2_grpc.BlobServiceServicer):
    async def PutBlob(self, request_iterator, context):
        return pool_pb2.PutBlobResponse(size=len([_ async for _ in request_iterator]))

    async def StatBlob(self, request, context):
        return pool_pb2.StatBlobResponse(size=1)


class Coordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    async def WatchSet(self, request, context):
        for _ in range(2):
            yield coordinator_pb2.WatchSetResponse()
            await asyncio.sleep(0.5)


class Data(shard_pb2_grpc.ShardDataServiceServicer):
    def PushSlices(self, request_iterator, context):
        return shard_pb2.PushSlicesResponse(size=sum(1 for _ in request_iterator))

    def PullSlices(self, request, context):
        time.sleep(0.5)
        yield shard_pb2.PullSlicesResponse(data=b"ab")


@pytest.fixture
async def address():
    server = Server(
        DOOR,
        [
            (BLOBS, partial(pool_pb2_grpc.add_BlobServiceServicer_to_server, Blobs())),
            (
                COORDINATOR,
                partial(
                    coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server, Coordinator()
                ),
            ),
        ],
        limits=LIMITS,
    )
    yield f"127.0.0.1:{await server.start()}"
    await server.drain(0)


@pytest.fixture
def bulk():
    register = partial(shard_pb2_grpc.add_ShardDataServiceServicer_to_server, Data())
    server = DataServer(DOOR, DATA, register, limits=replace(LIMITS, streams=9))
    yield f"127.0.0.1:{server.start()}"
    server.stop(0)


async def slowly(messages, pause):
    for message in messages:
        yield message
        await asyncio.sleep(pause)


@pytest.mark.parametrize("path", [f"/{BLOBS}/StatBlob", f"/{COORDINATOR}/WatchSet"])
async def test_a_request_that_does_not_come(address, path):
    async with aio_channel(address) as connection:
        with pytest.raises(errors.DeadlineExceededError) as caught, mapped_errors():
            call = connection.stream_stream(path)(metadata=ADA, timeout=10)
            await call.read()
    assert caught.value.reason == "IDLE_STREAM"


async def test_a_stream_that_stops(address):
    part = pool_pb2.PutBlobRequest(digest="0" * 64)
    async with aio_channel(address) as connection:
        put = pool_pb2_grpc.BlobServiceStub(connection).PutBlob
        with pytest.raises(errors.DeadlineExceededError) as caught, mapped_errors():
            await put(slowly([part] * 3, 5), metadata=ADA, timeout=10)
        assert caught.value.reason == "IDLE_STREAM"
        # One that goes on lives longer than a pause may be.
        assert (await put(slowly([part] * 5, 0.1), metadata=ADA, timeout=10)).size == 5


async def test_who_listens_may_listen(address):
    async with aio_channel(address) as connection:
        watch = coordinator_pb2_grpc.CoordinatorServiceStub(connection).WatchSet
        call = watch(coordinator_pb2.WatchSetRequest(set="t/s"), metadata=ADA, timeout=10)
        assert len([_ async for _ in call]) == 2


def test_a_push_that_stops_gives_its_threads_back(bulk):
    target = shard_pb2.PushSlicesRequest(target={"set": "t/s", "grant": "g"})
    ended = threading.Event()

    def idle():
        yield target
        ended.wait(10)

    with channel(bulk) as connection:
        stub = shard_pb2_grpc.ShardDataServiceStub(connection)
        for _ in range(7):  # Each would keep two threads of eighteen.
            calls = [stub.PushSlices.future(idle(), metadata=ADA, timeout=10) for _ in range(3)]
            for call in calls:
                with pytest.raises(errors.DeadlineExceededError) as caught, mapped_errors():
                    call.result()
                assert caught.value.reason == "IDLE_STREAM"
        assert stub.PushSlices(iter([target] * 4), metadata=ADA, timeout=10).size == 4
        request = shard_pb2.PullSlicesRequest(set="t/s", version=1)
        assert len(list(stub.PullSlices(request, metadata=ADA, timeout=10))) == 1
        with pytest.raises(errors.DeadlineExceededError), mapped_errors():
            silent = iter(ended.wait, True)
            list(connection.stream_stream(f"/{DATA}/PullSlices")(silent, metadata=ADA, timeout=10))
    ended.set()


@pytest.mark.measures
@pytest.mark.parametrize("sent", [b"", PREFACE])
async def test_a_silent_connection_is_closed(monkeypatch, sent):
    monkeypatch.setattr(options, "HANDSHAKE_SECONDS", 1)
    monkeypatch.setattr(options, "IDLE_SECONDS", 1)
    server = Server(DOOR, [(BLOBS, lambda _: None)])
    port = await server.start()

    def until_closed():
        with socket.create_connection(("127.0.0.1", port), timeout=8) as connection:
            connection.sendall(sent)
            begin = time.monotonic()
            while connection.recv(1 << 16):
                pass
            return time.monotonic() - begin

    assert await asyncio.to_thread(until_closed) < 6
    await server.drain(0)


async def test_a_client_does_not_notice_that_its_idle_connection_was_closed(monkeypatch):
    monkeypatch.setattr(options, "IDLE_SECONDS", 0.3)
    register = partial(pool_pb2_grpc.add_BlobServiceServicer_to_server, Blobs())
    server = Server(DOOR, [(BLOBS, register)])
    async with aio_channel(f"127.0.0.1:{await server.start()}") as connection:
        stat = pool_pb2_grpc.BlobServiceStub(connection).StatBlob
        states = []
        for _ in range(2):
            request = pool_pb2.StatBlobRequest(digest="0" * 64)
            assert (await stat(request, metadata=ADA, timeout=5)).size == 1
            await asyncio.sleep(0.8)
            states.append(connection.get_state())
        assert states[0] is grpc.ChannelConnectivity.IDLE
    await server.drain(0)


class Endless(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Says more than anybody takes; `open` counts those to whom it is saying it."""

    open = 0

    async def WatchSet(self, request, context):
        self.open += 1
        try:
            while True:
                yield coordinator_pb2.WatchSetResponse(head={"set": "x" * 1_000_000})
        finally:
            self.open -= 1


class Slices(shard_pb2_grpc.ShardDataServiceServicer):
    def PullSlices(self, request, context):
        for _ in range(request.version):
            yield shard_pb2.PullSlicesResponse(data=bytes(1 << 20))


@pytest.fixture
def pulled():
    register = partial(shard_pb2_grpc.add_ShardDataServiceServicer_to_server, Slices())
    server = DataServer(DOOR, DATA, register, limits=replace(PATIENT, streams=9))
    yield f"127.0.0.1:{server.start()}"
    server.stop(0)


def test_a_pull_that_is_not_taken_gives_its_thread_back(pulled):
    request = shard_pb2.PullSlicesRequest(set="t/s", version=100)
    with channel(pulled) as connection:
        pull = shard_pb2_grpc.ShardDataServiceStub(connection).PullSlices
        for _ in range(3):  # A principal has three of nine streams.
            calls = [pull(request, metadata=ADA, timeout=20) for _ in range(3)]
            assert all(next(call).data for call in calls)
            time.sleep(2.5)
            for call in calls:
                with pytest.raises(errors.DeadlineExceededError) as caught, mapped_errors():
                    list(call)
                assert caught.value.message == "nothing was taken for 1 seconds"
        assert len(list(pull(request, metadata=ADA, timeout=20))) == 100


def test_who_takes_slowly_is_served_to_the_end(pulled):
    request = shard_pb2.PullSlicesRequest(set="t/s", version=20)
    with channel(pulled) as connection:
        pull = shard_pb2_grpc.ShardDataServiceStub(connection).PullSlices
        taken = 0
        for _ in pull(request, metadata=ADA, timeout=20):
            taken += 1
            time.sleep(0.05)
        assert taken == 20


@pytest.fixture
async def endless():
    service = Endless()
    register = partial(coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server, service)
    server = Server(DOOR, [(COORDINATOR, register)], limits=PATIENT)
    yield service, f"127.0.0.1:{await server.start()}"
    await server.drain(0)


async def test_a_stream_that_is_not_taken_ends(endless):
    service, address = endless
    async with aio_channel(address) as connection:
        watch = coordinator_pb2_grpc.CoordinatorServiceStub(connection).WatchSet
        call = watch(coordinator_pb2.WatchSetRequest(set="t/s"), metadata=ADA, timeout=20)
        await call.read()
        assert service.open == 1
        await asyncio.sleep(2.5)
        assert service.open == 0
        with pytest.raises(errors.DeadlineExceededError) as caught, mapped_errors():
            while await call.read() is not grpc.aio.EOF:
                pass
        assert caught.value.reason == "IDLE_STREAM"
        assert caught.value.message == "nothing was taken for 1 seconds"
