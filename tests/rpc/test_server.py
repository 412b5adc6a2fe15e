"""The plumbing over real sockets: tokens, errors, limits, deadlines, health, reflection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.rpc.channel import aio_channel, bearer, mapped_errors
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.principal import Principal, Role, current_principal
from tessera.rpc.server import Server

NAME = "tessera.api.inference.v1.InferenceService"


class Service(pb_grpc.InferenceServiceServicer):
    async def GetModel(self, request, context):
        if request.model == "missing":
            raise errors.NotFoundError(
                "no deployment 'missing'",
                reason="MODEL_NOT_FOUND",
                violations=[errors.Violation("model", "unknown")],
                metadata={"model": "missing"},
                retry_after=1.5,
            )
        if request.model == "broken":
            raise ZeroDivisionError
        if request.model == "ended":
            with contextlib.suppress(grpc.aio.AbortError):
                await context.abort(grpc.StatusCode.NOT_FOUND)
            raise TimeoutError  # Its deadline came while it ended the call by itself.
        if request.model == "slow":
            await asyncio.sleep(30)
        return pb.GetModelResponse(model=current_principal().subject)

    async def Generate(self, request, context):
        for word in ("a", "b"):
            yield pb.GenerateResponse(text=word)
        raise errors.OutOfRangeError("past the context", reason="PROMPT_TOO_LONG")


@pytest.fixture
def logged():
    """Records of whatever is logged meanwhile."""
    found, handler = [], logging.Handler()
    handler.emit = found.append
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="module")
def issuer():
    return Issuer(Issuer.generate_key())


@pytest.fixture
async def channel(issuer) -> AsyncIterator[grpc.aio.Channel]:
    register = lambda server: pb_grpc.add_InferenceServiceServicer_to_server(Service(), server)  # noqa: E731
    server = Server(Door(Verifier([issuer.public_key()])), [(NAME, register)])
    port = await server.start()
    async with aio_channel(f"127.0.0.1:{port}") as connection:
        yield connection
    await server.drain(grace=0)


@pytest.fixture
def stub(channel):
    return pb_grpc.InferenceServiceStub(channel)


@pytest.fixture
def metadata(issuer):
    return bearer(issuer.issue(Principal(subject="ada", role=Role.SUBMITTER)))


async def test_a_token_names_the_caller(stub, metadata):
    reply = await stub.GetModel(pb.GetModelRequest(model="m"), metadata=metadata, timeout=5)
    assert reply.model == "ada"


@pytest.mark.parametrize("token", ["", "nonsense"])
async def test_no_valid_token_is_unauthenticated(stub, token):
    with pytest.raises(errors.UnauthenticatedError), mapped_errors():
        await stub.GetModel(pb.GetModelRequest(model="m"), metadata=bearer(token), timeout=5)


async def test_a_method_that_generated_code_lacks_is_unimplemented(channel):
    call = channel.unary_unary("/grpc.health.v1.Health/List")
    with pytest.raises(errors.UnimplementedError, match="List"), mapped_errors():
        await call(b"", timeout=5)


async def test_a_caller_that_is_gone_while_it_is_told_is_no_defect(channel, logged):
    request = health_pb2.HealthCheckRequest(service=NAME).SerializeToString()
    for _ in range(20):  # The deadline comes while an answer is on its way.
        call = channel.unary_stream("/grpc.health.v1.Health/Watch")(request, timeout=0.002)
        with pytest.raises(grpc.RpcError):
            [_ async for _ in call]
    await asyncio.sleep(0.1)
    assert not [record for record in logged if record.levelname == "ERROR"]


async def test_a_call_that_its_handler_ended_is_not_ended_again(stub, metadata, logged):
    with pytest.raises(errors.NotFoundError), mapped_errors():
        await stub.GetModel(pb.GetModelRequest(model="ended"), metadata=metadata, timeout=5)
    await asyncio.sleep(0.1)
    assert not [record for record in logged if record.levelname == "ERROR"]


async def test_tokens_that_are_no_utf8_stay_out_of_the_log(channel, logged):
    logging.getLogger("grpc._cython.cygrpc").error("Invalid encoding on %s", b"Bearer secret\xff")
    assert not [record for record in logged if "secret" in record.getMessage()]


async def test_another_signer_is_unauthenticated(stub):
    stranger = Issuer(Issuer.generate_key()).issue(Principal(subject="eve", role=Role.OPERATOR))
    with pytest.raises(errors.UnauthenticatedError), mapped_errors():
        await stub.GetModel(pb.GetModelRequest(model="m"), metadata=bearer(stranger), timeout=5)


async def test_an_expired_token_says_so(stub, issuer):
    old = issuer.issue(Principal(subject="ada", role=Role.SUBMITTER), ttl=-10)
    with pytest.raises(errors.UnauthenticatedError) as caught, mapped_errors():
        await stub.GetModel(pb.GetModelRequest(model="m"), metadata=bearer(old), timeout=5)
    assert caught.value.reason == "TOKEN_EXPIRED"


async def test_an_error_arrives_whole(stub, metadata):
    with pytest.raises(errors.NotFoundError) as caught, mapped_errors():
        await stub.GetModel(pb.GetModelRequest(model="missing"), metadata=metadata, timeout=5)
    error = caught.value
    assert error.reason == "MODEL_NOT_FOUND"
    assert error.violations == (errors.Violation("model", "unknown"),)
    assert error.metadata == {"model": "missing"}
    assert error.retry_after == pytest.approx(1.5)


async def test_a_defect_is_bland(stub, metadata):
    with pytest.raises(errors.InternalError) as caught, mapped_errors():
        await stub.GetModel(pb.GetModelRequest(model="broken"), metadata=metadata, timeout=5)
    assert "ZeroDivision" not in caught.value.message


async def test_a_broken_limit_names_its_field(stub, metadata):
    with pytest.raises(errors.InvalidArgumentError) as caught, mapped_errors():
        await stub.GetModel(pb.GetModelRequest(), metadata=metadata, timeout=5)
    assert [v.field for v in caught.value.violations] == ["model"]


async def test_the_deadline_ends_the_handler(stub, metadata):
    with pytest.raises(errors.DeadlineExceededError), mapped_errors():
        await stub.GetModel(pb.GetModelRequest(model="slow"), metadata=metadata, timeout=0.3)


async def test_a_stream_may_fail_after_its_first_parts(stub, metadata):
    request, texts = pb.GenerateRequest(model="m", text="x"), []
    with pytest.raises(errors.OutOfRangeError) as caught, mapped_errors():
        async for part in stub.Generate(request, metadata=metadata, timeout=5):
            texts.append(part.text)
    assert texts == ["a", "b"]
    assert caught.value.reason == "PROMPT_TOO_LONG"


async def test_health_and_reflection_ask_for_no_token(channel):
    health = health_pb2_grpc.HealthStub(channel)
    reply = await health.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=5)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(timeout=5)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in (await call.read()).list_services_response.service}
    assert {NAME, "grpc.health.v1.Health"} <= names
