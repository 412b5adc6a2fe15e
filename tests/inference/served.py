"""A replica's services over real sockets, without a controller."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.device import Device
from tessera.inference.activation import Activation
from tessera.inference.config import ServedModel
from tessera.inference.engine.engine import Engine
from tessera.inference.engine.plan import Limits
from tessera.inference.engine.settings import EngineSettings
from tessera.inference.metrics import CORRUPTED, REQUESTS
from tessera.inference.replica import services
from tessera.inference.state import ReplicaState
from tessera.inference.weights import Loader
from tessera.rpc.channel import aio_channel, bearer, mapped_errors
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server
from tessera.weights.coordinator import Coordinator

SERVED = ServedModel(deployment="tiny", tenant="default", set="default/tiny", version=1)


class Counts:
    """A meter that remembers."""

    def __init__(self):
        self.requests, self.corrupted = [], []

    def record(self, metric, value, method="", outcome=""):
        if metric is REQUESTS:
            self.requests.append((method, outcome))
        elif metric is CORRUPTED:
            self.corrupted.append(method)


class Served:
    """Starts replicas that have their weights already, and ends them."""

    def __init__(self, model):
        self._model = model
        self._issuer = Issuer(Issuer.generate_key())
        self._running = []

    async def __call__(self, model=None, *, empty=False, blocks=0, **limits):
        """What a client of a replica needs."""
        coordinator = Coordinator("127.0.0.1:1", "", patience=0.1)
        loader = Loader(
            coordinator, "", set_name=SERVED.set, owner="test", device=Device.for_accelerator("")
        )
        activation = Activation(SERVED, loader, coordinator, lambda: None)
        if not empty:
            settings = EngineSettings(limits=Limits(**limits), block_size=4, blocks=blocks)
            activation.engine = Engine(model or self._model, settings)
            activation.engine.start()
            activation._troubles["load"] = ""
        state = ReplicaState(SERVED, activation, stall_seconds=0.2)
        counts = Counts()
        server = Server(Door(Verifier([self._issuer.public_key()])), services(state, counts))
        address = f"127.0.0.1:{await server.start()}"
        channel = aio_channel(address)
        self._running.append((channel, server, activation))
        return SimpleNamespace(
            address=address,
            state=state,
            counts=counts,
            engine=activation.engine,
            inference=pb_grpc.InferenceServiceStub(channel),
            steering=pb_grpc.ReplicaServiceStub(channel),
            metadata=bearer(self._issuer.issue(Principal(subject="ada", role=Role.OPERATOR))),
            other=bearer(self._issuer.issue(Principal(subject="bob", role=Role.OPERATOR))),
            ensurer=bearer(
                self._issuer.issue(
                    Principal(subject="replica:default/tiny", role=Role.REPLICA, deployment="tiny")
                )
            ),
        )

    async def close(self):
        for channel, server, activation in self._running:
            await channel.close()
            await server.drain(0)
            activation.close()


async def generate(replica, *, seconds=30, **fields):
    fields.setdefault("model", "tiny")
    with mapped_errors():
        call = replica.inference.Generate(
            pb.GenerateRequest(**fields), metadata=replica.metadata, timeout=seconds
        )
        return [part async for part in call]


def joined(parts):
    tokens = tuple(token for part in parts for token in part.tokens)
    logprobs = [value for part in parts for value in part.logprobs]
    return "".join(part.text for part in parts), tokens, logprobs


async def ask(replica, method, *, seconds=30, **fields):
    """The reply of a method."""
    fields.setdefault("model", "tiny")
    with mapped_errors():
        call = getattr(replica.inference, method)
        request = getattr(pb, f"{method}Request")(**fields)
        return await call(request, metadata=replica.metadata, timeout=seconds)


def slow_down(engine, seconds):
    run = engine._model_runner.run

    def slow(plan):
        time.sleep(seconds)
        return run(plan)

    engine._model_runner.run = slow


async def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.01)


def all_returned(engine):
    assert engine.wait(5)
    status = engine.status()
    assert status.free_blocks == status.free_cross_blocks == status.total_blocks
