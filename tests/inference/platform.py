"""A real controller and parameter service for replicas to live beside; a writer, and a client."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tessera.api.controller.v1 import deployment_pb2, deployment_pb2_grpc
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.policy.records import Deployment
from tessera.controller.services import convert
from tessera.controller.services.deployments import demand_of
from tessera.controller.services.deployments import resolve as resolve_deployment
from tessera.controller.store import deployments, tickets
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import aio_channel, bearer, channel, mapped_errors
from tessera.rpc.identity import ATTEMPT, SERVICE, Principal
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import TensorSpec
from tessera.weights.push import LocalSlice, push


class Platform:
    """A controller and a parameter service on loops of their own."""

    def __init__(self, home):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.controller = self.run(self._make(home / "controller"))
        self.run(self.controller.start())
        self.address = self.controller.address
        self.token = self.issue(subject="service:inference", role=SERVICE)
        self.home = home
        self.start_parameters()

    def start_parameters(self):
        service = self.issue(subject="service:parameters", role=SERVICE)
        self.parameters = start_parameters(self.address, service, self.home)

    async def _make(self, home):
        return Controller(Config(host="127.0.0.1", port=0, home=home, shards=0), run_loops=False)

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def issue(self, **fields):
        return self.controller.runtime.issuer.issue(Principal(**fields))

    def deploy(self, name, model, *, accelerator="", **engine):
        asked = deployment_pb2.DeploymentSpec(
            name=name, model=model, engine=deployment_pb2.EngineSpec(**engine)
        )
        if accelerator:
            asked.accelerator.type = accelerator
        spec = resolve_deployment(asked)
        row = Deployment(
            tenant="default",
            name=name,
            owner="ada",
            spec=convert.to_json(spec),
            demand=demand_of(spec),
            generation="",
        )
        self.run(self.controller.runtime.database.write(deployments.create, row))

    def deployment(self, name):
        """A deployment as a user sees it."""
        stub = deployment_pb2_grpc.DeploymentServiceStub(channel(self.address))
        request = deployment_pb2.GetDeploymentRequest(name=name)
        metadata = bearer(self.issue(subject="ada"))
        return stub.GetDeployment(request, metadata=metadata, timeout=10).deployment

    def ticket(self):
        principal = Principal(subject="service:inference", role=SERVICE)
        return self.run(self.controller.runtime.database.write(tickets.issue, principal))

    def stop(self):
        self.parameters.stop()
        self.run(self.controller.stop(0))
        self.loop.call_soon_threadsafe(self.loop.stop)


class Writer:
    """A job that commits models, in slices of two ranks."""

    def __init__(self, platform, name):
        self.set = f"default/{name}"
        job = f"job-{name}"
        self.token = platform.issue(subject=f"attempt:{job}/1", role=ATTEMPT, job=job, attempt=1)
        self.client = Coordinator(platform.address, self.token)
        self.epoch = self.client.acquire_writer(self.set, job, 1).epoch

    def publish(self, loaded, **assets):
        """Commit a model with some optimizer state beside it; returns the version's number."""
        tensors = {n: p.detach().numpy() for n, p in loaded.module.named_parameters()}
        specs = [
            TensorSpec(group="model", name=n, shape=t.shape, dtype="F32")
            for n, t in tensors.items()
        ]
        first = next(iter(tensors))
        specs.append(
            TensorSpec(
                group="optimizer",
                name=f"exp_avg/{first}",
                shape=tensors[first].shape,
                dtype="F32",
            )
        )
        content = {
            "config.json": loaded.config.to_json().encode(),
            "tokenizer.json": loaded.tokenizer.to_json(),
            **assets,
        }
        content = {name: value for name, value in content.items() if value is not None}
        opened = self.client.open_version(self.set, self.epoch, 1, specs, content)
        arrays = [*tensors.values(), tensors[first]]
        for rank in range(2):
            push(opened, rank, list(self._slices(specs, arrays, rank)), self.token)
        self.client.seal_version(opened)
        return self.client.commit_version(opened).number

    def _slices(self, specs, arrays, rank):
        for index, (spec, array) in enumerate(zip(specs, arrays, strict=True)):
            half = spec.shape[0] // 2
            low, high = ((0, half), (half, spec.shape[0]))[rank]
            rest = spec.shape[1:]
            yield LocalSlice(
                tensor=index,
                group=spec.group,
                box=Box((low, *[0] * len(rest)), (high - low, *rest)),
                data=np.frombuffer(np.ascontiguousarray(array[low:high]).tobytes(), np.uint8),
            )


class Client:
    """Calls one replica."""

    def __init__(self, platform, address, model):
        self.address, self.model = address, model
        self.channel = aio_channel(address)
        self.inference = pb_grpc.InferenceServiceStub(self.channel)
        self.steering = pb_grpc.ReplicaServiceStub(self.channel)
        self.metadata = bearer(platform.issue(subject="ada"))

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
