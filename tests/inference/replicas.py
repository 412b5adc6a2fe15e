"""Models that a job commits, and a client that calls one replica."""

from __future__ import annotations

import asyncio
import time

import versions
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.rpc.channel import aio_channel, bearer, mapped_errors


class Writer(versions.Writer):
    """A job that commits models."""

    def __init__(self, platform, name):
        super().__init__(platform, name, job=f"job-{name}")

    def publish(self, loaded, **assets):
        """Commit a model with some optimizer state beside it; returns the version's number."""
        arrays = {n: p.detach().numpy() for n, p in loaded.module.named_parameters()}
        first = next(iter(arrays))
        optimizer = versions.content({f"exp_avg/{first}": arrays[first]}, group="optimizer")
        files = {
            "config.json": loaded.config.to_json().encode(),
            "tokenizer.json": loaded.tokenizer.to_json(),
            **assets,
        }
        files = {name: value for name, value in files.items() if value is not None}
        return self.commit({**versions.content(arrays), **optimizer}, files).number


class Client:
    """Calls one replica."""

    def __init__(self, platform, address, model):
        self.address, self.model = address, model
        self.channel = aio_channel(address)
        self.inference = pb_grpc.InferenceServiceStub(self.channel)
        self.steering = pb_grpc.ReplicaServiceStub(self.channel)
        self.metadata = bearer(platform.token)

    async def generate(self, prompt, count):
        """(version, tokens) of a greedy answer."""
        request = pb.GenerateRequest(
            model=self.model,
            tokens=pb.Tokens(ids=prompt),
            max_tokens=count,
            sampling=pb.Sampling(temperature=0),
        )
        with mapped_errors():
            call = self.inference.Generate(request, metadata=self.metadata, timeout=30)
            parts = [part async for part in call]
        (version,) = {part.version for part in parts}
        return version, [token for part in parts for token in part.tokens]

    async def status(self):
        return await self.steering.GetReplicaStatus(
            pb.GetReplicaStatusRequest(), metadata=self.metadata, timeout=10
        )

    async def until(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition(status := await self.status()):
            assert time.monotonic() < end, status
            await asyncio.sleep(0.02)
        return status

    async def health(self):
        stub = health_pb2_grpc.HealthStub(self.channel)
        reply = await stub.Check(
            health_pb2.HealthCheckRequest(service="tessera.api.inference.v1.InferenceService"),
            timeout=5,
        )
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


def active(version):
    """Whether a status says that a version is served."""
    return lambda status: status.state == pb.REPLICA_STATE_ACTIVE and status.version == version
