"""Every server of the platform: health, reflection, and no entry without a token."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from platforms import tiny

from tessera.api.controller.v1 import attempt_pb2, deployment_pb2, job_pb2, pool_pb2, registry_pb2
from tessera.api.inference.v1 import inference_pb2
from tessera.api.parameters.v1 import coordinator_pb2, shard_pb2
from tessera.api.trainer.v1 import trainer_pb2

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

PUBLIC = "tessera.api.controller.v1.IdentityService"
FILES = {
    "controller": [attempt_pb2, deployment_pb2, job_pb2, pool_pb2, registry_pb2],
    "coordinator": [coordinator_pb2],
    "shard": [shard_pb2],
    "replica": [inference_pb2],
    "trainer": [trainer_pb2],
}
DATA = {"tessera.api.parameters.v1.ShardDataService"}
"""Served at the data address."""


@pytest.fixture(scope="module")
def addresses(platform, deployed, files):
    """Every server, a driver's among them."""
    job = platform.submit(tiny("served", files, steps=2000, resources={"workers": 1}))
    found = {"controller": platform.state.controller, "trainer": platform.trainer(job)}
    roles = {"coordinator": 1, "shard": 2, "replica": 4}
    for name, role in roles.items():
        found[name] = platform.endpoints(role)[0].control_address
    yield found
    platform.cancel(job)
    platform.finish(job)


def services(kind: str) -> list:
    return [s for file in FILES[kind] for s in file.DESCRIPTOR.services_by_name.values()]


@pytest.mark.parametrize("kind", FILES)
def test_health_and_reflection(addresses, kind):
    names = {s.full_name for s in services(kind)} - DATA
    with grpc.insecure_channel(addresses[kind]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ["", *names]:
            reply = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        reply = next(stub.ServerReflectionInfo(iter([request]), timeout=10))
        listed = {service.name for service in reply.list_services_response.service}
        assert names | {"grpc.health.v1.Health"} <= listed
        for name in names:
            request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
            reply = next(stub.ServerReflectionInfo(iter([request]), timeout=10))
            assert reply.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("token", ["", "Bearer nonsense"])
def test_no_method_answers_without_a_token(platform, addresses, kind, token):
    for service in services(kind):
        if service.full_name == PUBLIC:
            continue
        address = addresses[kind]
        if service.full_name in DATA:
            address = platform.endpoints(2)[0].data_address
        with grpc.insecure_channel(address) as channel:
            for method in service.methods:
                assert refusal(channel, service, method, token) == grpc.StatusCode.UNAUTHENTICATED


def refusal(channel, service, method, token) -> grpc.StatusCode:
    """Status of a call with an empty request."""
    path = f"/{service.full_name}/{method.name}"
    metadata = (("authorization", token),) if token else ()
    make = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }[method.client_streaming, method.server_streaming]
    call = make(path)
    request = iter([b""]) if method.client_streaming else b""
    try:
        answer = call(request, metadata=metadata, timeout=10)
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK
