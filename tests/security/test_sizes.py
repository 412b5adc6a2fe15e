"""Messages have a size by method: what is larger is refused, and says both numbers."""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import pytest

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.api.parameters.v1 import shard_pb2, shard_pb2_grpc
from tessera.client.batches import REQUEST_BYTES
from tessera.rpc.channel import aio_channel, bearer, channel, mapped_errors
from tessera.rpc.data_server import DataServer
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.policy.cost import MessageLimits
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server
from tessera.trainer.control import logs, output
from tessera.weights import wire

ISSUER = Issuer(Issuer.generate_key())
DOOR = Door(Verifier([ISSUER.public_key()]))
ADA = bearer(ISSUER.issue(Principal(subject="ada", role=Role.SUBMITTER, tenant="t")))
INFERENCE = "tessera.api.inference.v1.InferenceService"
DATA = "tessera.api.parameters.v1.ShardDataService"
MIB = 1 << 20

LEAST = MessageLimits(**{one.name: one.metadata["least"] for one in fields(MessageLimits)})
"""As low as an operator may set it."""


class Inference(pb_grpc.InferenceServiceServicer):
    async def GetModel(self, request, context):
        return pb.GetModelResponse(model=request.model[:9])

    async def Generate(self, request, context):
        yield pb.GenerateResponse(text=str(len(request.text)))


class Data(shard_pb2_grpc.ShardDataServiceServicer):
    def PushSlices(self, request_iterator, context):
        return shard_pb2.PushSlicesResponse(size=sum(1 for _ in request_iterator))


@pytest.fixture
async def stub():
    server = Server(
        DOOR,
        [(INFERENCE, lambda s: pb_grpc.add_InferenceServiceServicer_to_server(Inference(), s))],
    )
    async with aio_channel(f"127.0.0.1:{await server.start()}") as connection:
        yield pb_grpc.InferenceServiceStub(connection)
    await server.drain(0)


async def test_a_method_has_its_own_size(stub):
    with pytest.raises(errors.ResourceExhaustedError) as caught, mapped_errors():
        await stub.GetModel(pb.GetModelRequest(model="x" * (5 * MIB)), metadata=ADA, timeout=10)
    error = caught.value
    assert error.reason == "MESSAGE_TOO_LARGE"
    assert error.metadata["limit"] == str(4 * MIB)
    assert 5 * MIB < int(error.metadata["size"]) < 5 * MIB + 20
    assert error.retry_after is None
    request = pb.GenerateRequest(model="m", text="é" * (3 * MIB))
    parts = [p.text async for p in stub.Generate(request, metadata=ADA, timeout=10)]
    assert parts == [str(3 * MIB)]


@pytest.mark.waits
async def test_what_grpc_itself_refuses_has_the_same_reason(stub):
    request = pb.GenerateRequest(model="m", text="x" * (17 * MIB))
    with pytest.raises(errors.ResourceExhaustedError) as caught, mapped_errors():
        async for _ in stub.Generate(request, metadata=ADA, timeout=10):
            pass
    assert caught.value.reason == "MESSAGE_TOO_LARGE"
    assert str(16 * MIB) in caught.value.message


def test_every_message_of_a_stream_is_measured():
    register = partial(shard_pb2_grpc.add_ShardDataServiceServicer_to_server, Data())
    server = DataServer(DOOR, DATA, register)
    target = shard_pb2.PushSlicesRequest(target={"set": "t/s", "grant": "g"})
    with channel(f"127.0.0.1:{server.start()}") as connection:
        push = shard_pb2_grpc.ShardDataServiceStub(connection).PushSlices
        three = shard_pb2.PushSlicesRequest(data=bytes(3 * MIB))
        assert push(iter([target, three]), metadata=ADA, timeout=10).size == 2
        five = shard_pb2.PushSlicesRequest(data=bytes(5 * MIB))
        with pytest.raises(errors.ResourceExhaustedError) as caught, mapped_errors():
            push(iter([target, five]), metadata=ADA, timeout=10)
        assert caught.value.reason == "MESSAGE_TOO_LARGE"
    server.stop(0)


def test_no_call_is_refused_for_its_size_that_a_client_makes():
    """Clients fill what they send up to 4 MiB, and a little more for what is around it."""
    message_bytes = LEAST.of
    assert message_bytes(f"/{INFERENCE}/Embed") >= 2 * REQUEST_BYTES
    assert message_bytes(f"/{DATA}/PushSlices") > wire.CHUNK_BYTES
    lines = "/tessera.api.controller.v1.AttemptService/AppendLogs"
    assert message_bytes(lines) > logs.BATCH * (4 * output.MAX_LINE + 8)
