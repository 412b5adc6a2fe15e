"""Versions of sets, committed and read as jobs and replicas do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import Manifest, OpenedVersion, TensorSpec, Version
from tessera.weights.pull import Want, pull
from tessera.weights.push import push
from tessera.weights.push_digest import sum_of

Content = Mapping[TensorSpec, np.ndarray]
"""The bytes of every tensor, 1-D."""


def content(arrays: Mapping[str, np.ndarray], group: str = "model", dtype: str = "F32") -> Content:
    """Arrays by name; two bytes of BF16 are an array of any kind of two bytes."""
    return {
        TensorSpec(group=group, name=name, shape=array.shape, dtype=dtype): (
            np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        )
        for name, array in arrays.items()
    }


def own(rank: int, ranks: int, view: tuple[int, ...]) -> Box:
    """What a rank holds of a view that is cut along its second axis."""
    low, high = view[1] * rank // ranks, view[1] * (rank + 1) // ranks
    rest = view[2:]
    return Box((0, low, *[0] * len(rest)), (view[0], high - low, *rest))


class Writer:
    """An attempt of a job whose ranks push what they hold: their rows of every tensor.

    Of tensors that `views` has, a rank holds its part of the view's second axis.

    Args:
        platform: an `InProcessPlatform` with a parameter service.
        name: of the set; of another tenant's than `default`, with that.
        job: which writes.
        attempt: of the job.
        ranks: how many.
        patience: seconds that services are waited for.
    """

    def __init__(self, platform, name="gpt", *, job="j1", attempt=1, ranks=2, patience=20.0):
        self.set = name if "/" in name else f"default/{name}"
        self.job, self.attempt = job, attempt
        self.ranks, self.patience, self.epoch = ranks, patience, 0
        self.views: dict[str, tuple[int, ...]] = {}
        self.token = platform.attempt_token(job, attempt, writes=self.set)
        self.client = Coordinator(platform.address, self.token, patience=patience)

    def acquire(self, keep=0):
        grant = self.client.acquire_writer(self.set, self.job, self.attempt, keep)
        self.epoch = grant.epoch
        return grant

    def commit(self, content: Content, assets, *, step=1, labels=None) -> Version:
        """A whole version."""
        if not self.epoch:
            self.acquire()
        opened = self.client.open_version(
            self.set, self.epoch, step, list(content), assets, labels or {}
        )
        self.client.seal_version(opened, self.push(opened, content))
        return self.client.commit_version(opened)

    def push(self, opened: OpenedVersion, content: Content, ranks: Sequence[int] = ()) -> int:
        """What ranks hold, or all; returns its digest."""
        return sum_of(
            push(
                opened, rank, self.slices(content, rank), self.token, patience=self.patience
            ).digest
            for rank in ranks or range(self.ranks)
        )

    def slices(self, content: Content, rank: int) -> list[LocalSlice]:
        """What a rank holds; of a tensor with fewer rows than ranks some hold nothing."""
        held = []
        for index, (tensor, data) in enumerate(content.items()):
            if view := self.views.get(tensor.name):
                box = own(rank, self.ranks, view)
                part = data.reshape(*view, tensor.element_size)[box.slices].reshape(-1)
                held.append(
                    LocalSlice(tensor=index, group=tensor.group, box=box, data=part, view=view)
                )
                continue
            rows, *rest = tensor.shape or (1,)
            low, high = rows * rank // self.ranks, rows * (rank + 1) // self.ranks
            if low == high:
                continue
            box = Box((low, *[0] * len(rest)), (high - low, *rest)) if tensor.shape else tensor.box
            row = data.size // rows
            part = data[low * row : high * row]
            held.append(LocalSlice(tensor=index, group=tensor.group, box=box, data=part))
        return held


def read(
    coordinator: Coordinator, token: str, name: str, *, version=0, groups=(), patience=20.0
) -> tuple[Manifest, dict[str, np.ndarray]]:
    """A version's manifest, and the bytes of its tensors by name; 0: its newest."""
    manifest = coordinator.get_manifest(f"default/{name}", version, groups)
    found = {tensor.name: np.zeros(tensor.size, np.uint8) for tensor in manifest.tensors}
    wants = [
        Want(group=tensor.group, name=tensor.name, box=tensor.box, out=found[tensor.name])
        for tensor in manifest.tensors
    ]
    pull(manifest, wants, token, patience=patience)
    return manifest, found
