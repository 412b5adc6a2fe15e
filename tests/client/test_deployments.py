"""Waiting for a deployment ends as soon as it is in vain."""

from __future__ import annotations

import time

import pytest

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.controller.v1.deployment_pb2 import DeploymentSpec
from tessera.api.controller.v1.registry_pb2_grpc import RegistryServiceStub
from tessera.rpc.channel import bearer, channel
from tessera.rpc.registration import build_version


@pytest.fixture
def replicas(platform):
    """Registers replicas as they would themselves, and withdraws them."""

    def metadata(name):
        deployment = name.partition("/")[0]
        return bearer(platform.replica_token(deployment, model="default/tiny"))

    stub = RegistryServiceStub(channel(platform.address))
    known = []

    def register(name, **labels):
        endpoint = registry_pb2.Endpoint(
            role=registry_pb2.ROLE_REPLICA,
            name=name,
            incarnation="i",
            control_address="127.0.0.1:1",
            build=build_version(),
            labels=labels,
        )
        stub.Register(
            registry_pb2.RegisterRequest(endpoint=endpoint),
            metadata=metadata(name),
            timeout=5,
        )
        known.append(name)

    yield register
    for name in known:
        request = registry_pb2.DeregisterRequest(
            role=registry_pb2.ROLE_REPLICA, name=name, incarnation="i"
        )
        stub.Deregister(request, metadata=metadata(name), timeout=5)


@pytest.mark.measures
@pytest.mark.parametrize("other", ["failed", "active"])
def test_replicas_that_can_never_serve_are_not_waited_for(client, tiny, replicas, other):
    name = f"two-{other}"
    client.deployments.create(DeploymentSpec(name=name, model="tiny", replicas=2))
    replicas(f"{name}/0", state=other, version="1", message="" if other == "active" else "no end")
    replicas(f"{name}/1", state="failed", message="no end")
    begin = time.monotonic()
    with pytest.raises(errors.FailedPreconditionError) as caught:
        client.deployments.wait(name, 30)
    assert time.monotonic() - begin < 15
    assert caught.value.reason == "DEPLOYMENT_FAILED"
    assert "no end" in caught.value.message
    client.deployments.delete(name)


@pytest.mark.waits
def test_a_replica_that_may_still_serve_is_waited_for(client, tiny, replicas):
    client.deployments.create(DeploymentSpec(name="hopes", model="tiny", replicas=2))
    replicas("hopes/0", state="failed", message="no end")
    replicas("hopes/1", state="empty", message="pulling")
    with pytest.raises(errors.DeadlineExceededError):
        client.deployments.wait("hopes", 1)
    client.deployments.delete("hopes")
