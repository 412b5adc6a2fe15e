"""Drivers and replicas hold to the limits that they are told when they start."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from in_process import InProcessPlatform

from tessera import errors
from tessera.inference.config import ReplicaConfig
from tessera.inference.replica import start_replica
from tessera.meter import NoMeter
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.limits import CallLimits
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.policy.cost import MessageLimits
from tessera.rpc.principal import Role
from tessera.rpc.registration import fetch_verifier
from tessera.spec.configuration import dump, parse_configuration
from tessera.trainer.control.attempt import AttemptRecord

TOLD = dump(PlatformLimits(servers=CallLimits(messages=MessageLimits(bytes=8 << 20))))
CALLS = parse_configuration(TOLD, "--limits", PlatformLimits).servers


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with InProcessPlatform(tmp_path_factory.mktemp("home")) as running:
        running.start_parameters(calls=CALLS)
        running.deploy("chat", "s")
        yield running


async def replica(platform):
    config = ReplicaConfig(
        controller=platform.address,
        token=await asyncio.to_thread(platform.replica_token, "chat"),
        tenant="default",
        deployment="chat",
        index=0,
        calls=CALLS,
    )
    started = await start_replica(config, NoMeter())
    return started.address, lambda: started.stop(0)


async def driver(platform):
    from tessera.trainer.driver import _server  # noqa: PLC0415 - Ray Train is slow to load

    record = AttemptRecord(job="j", attempt=1, total_steps=5, world_size=2)
    verifier = await asyncio.to_thread(fetch_verifier, platform.address, "trainer")
    server = _server(record, "default", verifier, CALLS, None)
    return f"127.0.0.1:{await server.start()}", lambda: server.drain(0)


def reasons(address, path, token):
    """Why five and nine MiB that are no message are refused."""
    found = []
    with grpc.insecure_channel(address) as connection:
        for size in (5 << 20, 9 << 20):
            with pytest.raises(errors.TesseraError) as caught, mapped_errors():
                call = connection.unary_unary(path)
                call(b"\xff" * size, metadata=bearer(token), timeout=30)
            found.append(caught.value.reason)
    return found


@pytest.mark.parametrize(
    ("start", "method", "caller"),
    [
        (replica, "inference.v1.InferenceService/GetModel", {"role": Role.VIEWER}),
        pytest.param(
            driver,
            "trainer.v1.TrainerService/GetStatus",
            {"role": Role.CONTROLLER, "job": "j", "attempt": 1},
            marks=pytest.mark.waits,
        ),
    ],
)
def test_a_message_that_the_operator_allows(platform, start, method, caller):
    address, stop = platform.run(start(platform))
    token = platform.issue(subject="ada", **caller)
    found = reasons(address, f"/tessera.api.{method}", token)
    platform.run(stop())
    # gRPC takes of a replica whatever texts may take; each method is measured at the door.
    assert found == ["MALFORMED_MESSAGE", "MESSAGE_TOO_LARGE"]


def test_the_bulk_streams_of_a_shard(platform):
    shard = platform.parameters.nodes[0]
    token = platform.issue(subject="ada", role=Role.SUBMITTER)
    path = "/tessera.api.parameters.v1.ShardDataService/PushSlices"
    with channel(shard.data_address) as connection:
        for size, reason in ((5 << 20, "MALFORMED_MESSAGE"), (9 << 20, "MESSAGE_TOO_LARGE")):
            call = connection.stream_unary(path)
            with pytest.raises(errors.TesseraError) as caught, mapped_errors():
                call(iter([b"\xff" * size]), metadata=bearer(token), timeout=30)
            assert caught.value.reason == reason
