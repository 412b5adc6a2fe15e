"""A real controller, coordinator and shards inside the test's process, and a job that writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.store import tickets
from tessera.parameters.local import LocalParameters, start_parameters
from tessera.rpc.identity import ATTEMPT, SERVICE, Principal
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import OpenedVersion, TensorSpec
from tessera.weights.pull import Want, pull
from tessera.weights.push import LocalSlice, push

SET = "default/gpt"


class Platform:
    """A controller on a loop of its own."""

    def __init__(self, home: Path) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._controller = self.run(self._make(home))
        self.run(self._controller.start())
        self.address = self._controller.address

    async def _make(self, home: Path) -> Controller:
        config = Config(host="127.0.0.1", port=0, home=home, shards=0)
        return Controller(config, run_loops=False)

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def token(self, **fields) -> str:
        return self._controller.runtime.issuer.issue(Principal(**fields))

    def service(self) -> str:
        return self.token(subject="service:parameters", role=SERVICE)

    def attempt(self, job="j1", attempt=1) -> str:
        return self.token(
            subject=f"attempt:{job}/{attempt}", role=ATTEMPT, job=job, attempt=attempt
        )

    def ticket(self, principal: Principal) -> str:
        return self.run(self._controller.runtime.database.write(tickets.issue, principal))

    def stop(self) -> None:
        self.run(self._controller.stop(0))
        self._loop.call_soon_threadsafe(self._loop.stop)


@dataclass
class Writer:
    """A job of several ranks that publishes made-up tensors."""

    platform: Platform
    job: str = "j1"
    attempt: int = 1
    ranks: int = 2
    set: str = SET
    patience: float = 20.0

    def __post_init__(self) -> None:
        self.token = self.platform.attempt(self.job, self.attempt)
        self.client = Coordinator(self.platform.address, self.token, patience=self.patience)
        self.epoch = 0

    tensors = (
        TensorSpec(group="model", name="embed", shape=(301, 64), dtype="F32"),
        TensorSpec(group="model", name="bias", shape=(7,), dtype="BF16"),
        TensorSpec(group="model", name="scale", shape=(), dtype="F64"),
        TensorSpec(group="optimizer", name="exp_avg/embed", shape=(301, 64), dtype="F32"),
        TensorSpec(group="state", name="trainer", shape=(33,), dtype="U8"),
    )

    def acquire(self, keep=0):
        grant = self.client.acquire_writer(self.set, self.job, self.attempt, keep)
        self.epoch = grant.epoch
        return grant

    def content(self, seed: int) -> list[np.ndarray]:
        """The bytes of every tensor, as they should be read back."""
        random = np.random.default_rng(seed)
        return [random.integers(0, 256, tensor.size, np.uint8) for tensor in self.tensors]

    def slices(self, rank: int, seed: int) -> list[LocalSlice]:
        """Rows are dealt out over the ranks; what has too few rows is rank 0's."""
        found = []
        for index, (tensor, data) in enumerate(zip(self.tensors, self.content(seed), strict=True)):
            rows = tensor.shape[0] if tensor.shape else 1
            if rows < 100:
                if rank == 0:
                    found.append(self._slice(index, tensor, tensor.box, data))
                continue
            low, high = rows * rank // self.ranks, rows * (rank + 1) // self.ranks
            box = Box((low, *[0] * (len(tensor.shape) - 1)), (high - low, *tensor.shape[1:]))
            row = data.size // rows
            found.append(self._slice(index, tensor, box, data[low * row : high * row]))
        return found

    def _slice(self, index, tensor, box, data):
        return LocalSlice(tensor=index, group=tensor.group, box=box, data=data)

    def open(self, seed: int, **labels) -> OpenedVersion:
        assets = {"config.json": f"seed {seed}".encode()}
        labels = {"seed": str(seed), **labels}
        return self.client.open_version(self.set, self.epoch, seed, self.tensors, assets, labels)

    def push(self, opened: OpenedVersion, seed: int, ranks=None) -> None:
        for rank in range(self.ranks) if ranks is None else ranks:
            push(opened, rank, self.slices(rank, seed), self.token, patience=self.patience)

    def publish(self, seed: int):
        if not self.epoch:
            self.acquire()
        opened = self.open(seed)
        self.push(opened, seed)
        self.client.seal_version(opened)
        return self.client.commit_version(opened)

    def read(self, version=0, groups=(), patience=20.0) -> tuple[int, dict[str, bytes]]:
        """The seed that a version was made of, and its tensors as read back."""
        manifest = self.client.get_manifest(self.set, version, groups)
        outs = {t.name: np.zeros(t.size, np.uint8) for t in manifest.tensors}
        wants = [
            Want(group=t.group, name=t.name, box=t.box, out=outs[t.name]) for t in manifest.tensors
        ]
        pull(manifest, wants, self.token, patience=patience)
        return manifest.version.step, {name: out.tobytes() for name, out in outs.items()}

    def check(self, version=0) -> int:
        """A version is whole and as it was pushed; returns its seed."""
        seed, found = self.read(version)
        expected = self.content(seed)
        for tensor, data in zip(self.tensors, expected, strict=True):
            if tensor.name in found:
                assert found[tensor.name] == data.tobytes(), tensor.name
        return seed


@pytest.fixture(scope="session")
def platform(tmp_path_factory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("home"))
    yield platform
    platform.stop()


@pytest.fixture
def parameters(platform, tmp_path) -> Iterator[LocalParameters]:
    running = start_parameters(platform.address, platform.service(), tmp_path)
    yield running
    running.stop()


@pytest.fixture
def writer(platform, parameters) -> Iterator[Writer]:
    writer = Writer(platform)
    yield writer
    writer.client.close()


@pytest.fixture
def another(platform):
    """Makes more writers."""
    made = []

    def make(**fields) -> Writer:
        made.append(Writer(platform, **fields))
        return made[-1]

    yield make
    for writer in made:
        writer.client.close()
