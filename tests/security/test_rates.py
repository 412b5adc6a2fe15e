"""Calls that make something have a rate; clients of ours wait for their turn."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tessera import errors
from tessera.api.controller.v1 import pool_pb2, pool_pb2_grpc
from tessera.client.connection import Connection
from tessera.client.home import Access
from tessera.rpc.channel import aio_channel, bearer, mapped_errors
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.limits import CallLimits
from tessera.rpc.principal import Principal, Role
from tessera.rpc.rate import Rate
from tessera.rpc.server import Server
from tessera.weights.directory import with_patience

ISSUER = Issuer(Issuer.generate_key())
DOOR = Door(Verifier([ISSUER.public_key()]))
BLOBS = "tessera.api.controller.v1.BlobService"
PART = pool_pb2.PutBlobRequest(digest="0" * 64)


def token(subject, tenant="t"):
    return ISSUER.issue(Principal(subject=subject, role=Role.SUBMITTER, tenant=tenant))


class Blobs(pool_pb2_grpc.BlobServiceServicer):
    async def PutBlob(self, request_iterator, context):
        return pool_pb2.PutBlobResponse(size=len([_ async for _ in request_iterator]))

    async def StatBlob(self, request, context):
        return pool_pb2.StatBlobResponse(size=1)


@pytest.fixture
async def address(request):
    """Of a server where a principal makes two things at once, a tenant four, and then few."""
    register = partial(pool_pb2_grpc.add_BlobServiceServicer_to_server, Blobs())
    limits = CallLimits(
        principal=Rate(per_second=request.param, burst=2),
        tenant=Rate(per_second=request.param, burst=4),
    )
    server = Server(DOOR, [(BLOBS, register)], limits=limits)
    yield f"127.0.0.1:{await server.start()}"
    await server.drain(0)


@pytest.mark.parametrize("address", [0.02], indirect=True)
async def test_what_comes_too_fast_is_told_when_to_come(address):
    async with aio_channel(address) as connection:
        stub = pool_pb2_grpc.BlobServiceStub(connection)

        async def put(subject, tenant="t"):
            with mapped_errors():
                await stub.PutBlob(iter([PART]), metadata=bearer(token(subject, tenant)), timeout=5)

        async def refused(subject):
            with pytest.raises(errors.ResourceExhaustedError) as caught:
                await put(subject)
            assert caught.value.reason == "RATE_LIMITED"
            assert 0 < caught.value.retry_after <= 50

        await put("ada")
        await put("ada")
        await refused("ada")
        # Another person of the tenant has a rate of his own, but the tenant's is theirs together.
        await put("bob")
        await put("bob")
        await refused("eve")
        await put("ada", tenant="another")
        request = pool_pb2.StatBlobRequest(digest="0" * 64)
        for _ in range(10):
            await stub.StatBlob(request, metadata=bearer(token("ada")), timeout=5)


@pytest.mark.waits
@pytest.mark.parametrize("address", [4], indirect=True)
async def test_our_clients_wait_for_their_turn(address):
    def upload():
        connection = Connection(Access(address=address, token=token("ada")))
        put = pool_pb2_grpc.BlobServiceStub(connection.channel).PutBlob
        for _ in range(4):
            connection.call(lambda _, **options: put(iter([PART]), **options), None)
        connection.close()

    await asyncio.to_thread(upload)


def test_who_finds_no_place_comes_again():
    refusals = [errors.ResourceExhaustedError("full", reason="TOO_MANY_CALLS", retry_after=1)] * 2

    def action(again):
        if refusals:
            raise refusals.pop()
        return again

    assert with_patience(action, 5) is True
    full = errors.ResourceExhaustedError("the disk is full", reason="DISK_CAP")

    def hopeless(_):
        raise full

    with pytest.raises(errors.ResourceExhaustedError):
        with_patience(hopeless, 5)
