"""A real controller, coordinator and shards inside the test's process, and a job that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import versions
from in_process import InProcessPlatform
from memory_vault import MemoryVault

from tessera.parameters.local import LocalParameters
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.vault import Vault
from tessera.weights import lane
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import OpenedVersion, TensorSpec


class Writer(versions.Writer):
    """Its versions are made up of the number that is their step."""

    tensors = (
        TensorSpec(group="model", name="embed", shape=(301, 64), dtype="F32"),
        TensorSpec(group="model", name="bias", shape=(7,), dtype="BF16"),
        TensorSpec(group="model", name="scale", shape=(), dtype="F64"),
        TensorSpec(group="optimizer", name="exp_avg/embed", shape=(301, 64), dtype="F32"),
        TensorSpec(group="state", name="trainer", shape=(33,), dtype="U8"),
    )

    def content(self, seed: int) -> versions.Content:
        """The bytes of every tensor, as they should be read back."""
        random = np.random.default_rng(seed)
        return {tensor: random.integers(0, 256, tensor.size, np.uint8) for tensor in self.tensors}

    def assets(self, seed: int) -> dict[str, bytes]:
        return {"config.json": f"seed {seed}".encode()}

    def open(self, seed: int) -> OpenedVersion:
        return self.client.open_version(
            self.set, self.epoch, seed, self.tensors, self.assets(seed), {"seed": str(seed)}
        )

    def publish(self, seed: int):
        return self.commit(
            self.content(seed), self.assets(seed), step=seed, labels={"seed": str(seed)}
        )

    def read(self, version=0, groups=(), patience=20.0) -> tuple[int, dict[str, bytes]]:
        """The seed that a version was made of, and its tensors as read back."""
        name = self.set.removeprefix("default/")
        manifest, found = versions.read(
            self.client, self.token, name, version=version, groups=groups, patience=patience
        )
        return manifest.version.step, {name: data.tobytes() for name, data in found.items()}

    def check(self, version=0) -> int:
        """A version is whole and as it was pushed; returns its seed."""
        seed, found = self.read(version)
        for tensor, data in self.content(seed).items():
            if tensor.name in found:
                assert found[tensor.name] == data.tobytes(), tensor.name
        return seed


@pytest.fixture(scope="session")
def platform(tmp_path_factory) -> Iterator[InProcessPlatform]:
    with InProcessPlatform(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def parameters(platform, tmp_path) -> Iterator[LocalParameters]:
    yield platform.start_parameters(tmp_path)
    platform.stop_parameters()


@pytest.fixture
def reader(platform, parameters) -> Iterator[Coordinator]:
    """What a person of the tenant asks by."""
    client = Coordinator(platform.address, platform.token)
    yield client
    client.close()


@pytest.fixture
def another(platform):
    """Makes writers."""
    made = []

    def make(name="gpt", **fields) -> Writer:
        made.append(Writer(platform, name, **fields))
        return made[-1]

    yield make
    for writer in made:
        writer.client.close()


@pytest.fixture
def writer(another, parameters) -> Writer:
    return another()


@pytest.fixture(params=["local", "memory"])
def open_vault(request, tmp_path) -> Callable[..., Vault]:
    """Opens a shard's vault as a process does that starts: of each kind that there is."""
    kept: dict[str, Vault] = {}

    def opened(shard="shard-0") -> Vault:
        if request.param == "local":
            return LocalVault(tmp_path / shard)
        return kept.setdefault(shard, MemoryVault())

    return opened


@pytest.fixture
def left(monkeypatch) -> list[int]:
    """How many transfers each try of the lane has left for gRPC."""
    counts, real = [], lane.pull

    def counted(*arguments, **options):
        rest = real(*arguments, **options)
        counts.append(len(rest))
        return rest

    monkeypatch.setattr(lane, "pull", counted)
    return counts
