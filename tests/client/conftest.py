"""A real controller, parameter service and replica inside the test's process, and their client.

A small GPT with random weights is committed as `default/tiny`, version 1, and served as `tiny`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tessera.api.controller.v1 import attempt_pb2 as pb
from tessera.api.controller.v1.attempt_pb2_grpc import AttemptServiceStub
from tessera.api.controller.v1.deployment_pb2 import DeploymentSpec
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec
from tessera.client import Client
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.store import attempts as store_attempts
from tessera.controller.store import placement
from tessera.inference.config import ReplicaConfig
from tessera.inference.meter import NoMeter
from tessera.inference.replica import start_replica
from tessera.models.config import GPTConfig
from tessera.models.gpt import GPT
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import bearer, channel
from tessera.rpc.identity import ATTEMPT, SERVICE, Principal
from tessera.text.tokenizer import train_byte_bpe
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import TensorSpec
from tessera.weights.push import LocalSlice, push

TEXT = "def add(a, b):\n    return a + b\n\n\nclass Größe:\n    '''Maß → 尺寸 🙂'''\n" * 4


class Platform:
    """Everything on a loop of its own; the controller can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._port = 0
        self.controller = None
        self.start_controller()
        self.address = self.controller.address
        self.token = self.issue(subject="ada")
        (home / "token").write_text(self.token)
        (home / "state.json").write_text(json.dumps({"controller": self.address}))

    def run(self, work, seconds=60):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def start_controller(self) -> None:
        async def start():
            config = Config(host="127.0.0.1", port=self._port, home=self.home, shards=0)
            self.controller = Controller(config, run_loops=False)
            self._port = await self.controller.start()

        self.run(start())

    def stop_controller(self) -> None:
        self.run(self.controller.stop(0))

    def issue(self, **fields) -> str:
        return self.controller.runtime.issuer.issue(Principal(**fields))

    def admit(self, job: str) -> None:
        """What the scheduler does, without a pool."""
        database = self.controller.runtime.database
        self.run(database.write(placement.admit, job, "local"))

    def release(self, job: str) -> None:
        """What the controller does once the attempt's Ray job is gone."""
        database = self.controller.runtime.database
        self.run(database.write(store_attempts.release, job, 1))

    def attempt(self, job: str) -> Attempt:
        return Attempt(self, job)

    def close(self) -> None:
        self.stop_controller()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class Attempt:
    """What a driver says about attempt 1 of a job."""

    def __init__(self, platform: Platform, job: str) -> None:
        token = platform.issue(subject=f"attempt:{job}/1", role=ATTEMPT, job=job, attempt=1)
        self._metadata = bearer(token)
        self._channel = channel(platform.address)
        self._stub = AttemptServiceStub(self._channel)
        self._platform = platform
        self._ref = pb.AttemptRef(job=job, attempt=1)
        self._sequence = 0
        self._lines = {}

    def _call(self, method, request):
        return method(request, metadata=self._metadata, timeout=10, wait_for_ready=True)

    def report(self, **content) -> None:
        self._sequence += 1
        report = pb.Report(sequence=self._sequence, **content)
        request = pb.ReportAttemptRequest(ref=self._ref, reports=[report])
        self._call(self._stub.ReportAttempt, request)

    def log(self, source: str, *lines: str) -> None:
        first = self._lines.get(source, 0) + 1
        request = pb.AppendLogsRequest(ref=self._ref, source=source, first_line=first, lines=lines)
        self._lines[source] = self._call(self._stub.AppendLogs, request).lines

    def finish(self, **outcome) -> None:
        request = pb.FinishAttemptRequest(ref=self._ref, **outcome)
        self._call(self._stub.FinishAttempt, request)
        self._platform.release(self._ref.job)


def job_spec(name="demo", **fields) -> JobSpec:
    files = fields.pop("files", ["stdlib://**/*.py"])
    return JobSpec(name=name, model=ModelSpec(family="gpt"), data=DataSpec(files=files), **fields)


class Tiny:
    """The committed model: its module, its tokenizer and how it is published."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.tokenizer = train_byte_bpe(iter([TEXT]), 320)
        self.config = GPTConfig(
            vocab_size=self.tokenizer.vocab_size, context=64, layers=2, heads=4, width=32
        )
        torch.manual_seed(1)
        self.module = GPT(self.config).eval()
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)

    def publish(self, name="default/tiny", step=7) -> int:
        token = self.platform.issue(subject="attempt:j1/1", role=ATTEMPT, job="j1", attempt=1)
        coordinator = Coordinator(self.platform.address, token)
        arrays = {n: p.detach().numpy() for n, p in self.module.named_parameters()}
        tensors = [
            TensorSpec(group="model", name=n, shape=a.shape, dtype="F32") for n, a in arrays.items()
        ]
        assets = {
            "config.json": self.config.to_json().encode(),
            "tokenizer.json": self.tokenizer.to_json(),
        }
        grant = coordinator.acquire_writer(name, "j1", 1)
        opened = coordinator.open_version(name, grant.epoch, step, tensors, assets, {"loss": "2"})
        slices = [
            LocalSlice(
                tensor=i,
                group="model",
                box=tensors[i].box,
                data=np.ascontiguousarray(array).view(np.uint8).reshape(-1),
            )
            for i, array in enumerate(arrays.values())
        ]
        push(opened, 0, slices, token)
        coordinator.seal_version(opened)
        version = coordinator.commit_version(opened)
        coordinator.close()
        return version.number


@pytest.fixture(scope="session")
def platform(tmp_path_factory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("home"))
    yield platform
    platform.close()


@pytest.fixture(scope="session")
def tiny(platform, tmp_path_factory) -> Iterator[Tiny]:
    """With the parameter service behind it, and one committed version."""
    service = platform.issue(subject="service:parameters", role=SERVICE)
    running = start_parameters(platform.address, service, tmp_path_factory.mktemp("parameters"))
    tiny = Tiny(platform)
    tiny.publish()
    yield tiny
    running.stop()


@pytest.fixture(scope="session")
def served(platform, tiny) -> Iterator[Tiny]:
    """With a replica that serves it, at version 1."""
    with Client(home=platform.home) as client:
        client.deployments.create(DeploymentSpec(name="tiny", model="tiny@1"))
        token = platform.issue(subject="service:inference", role=SERVICE)
        config = ReplicaConfig(controller=platform.address, token=token, deployment="tiny", index=0)
        replica = platform.run(start_replica(config, NoMeter()))
        client.deployments.wait("tiny", 30)
    yield tiny
    platform.run(replica.stop(1))


@pytest.fixture
def client(platform) -> Iterator[Client]:
    with Client(home=platform.home, patience=2) as client:
        yield client


@pytest.fixture
def spec():
    """Makes short valid specs."""
    return job_spec
