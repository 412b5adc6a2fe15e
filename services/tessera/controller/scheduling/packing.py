"""Which of the nodes that hold a worker gets it: a score by node, the lowest wins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tessera.controller.scheduling.columns import Floats
from tessera.controller.scheduling.node_view import NodeView
from tessera.controller.scheduling.shape import WHOLE, WorkerShape


class Policy(Protocol):
    """A way to choose; `volatile`: scores of equal nodes differ from one time to the next."""

    @property
    def volatile(self) -> bool:
        """Whether scores hold for one choice only."""

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:
        """Of each row, [n]; rows where nothing fits are left out by the caller."""

    def device(self, free: Sequence[int], candidates: Sequence[int], shape: WorkerShape) -> int:
        """Which of some devices of the node a share is taken of; `free` is by device."""


def tightest(free: Sequence[int], candidates: Sequence[int]) -> int:
    """The device with the least that is free."""
    return min(candidates, key=lambda device: (free[device], device))


class FirstFit:
    """The first node that holds it (Garey, Graham and Ullman, 1972)."""

    volatile = False

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:  # noqa: ARG002
        """The row."""
        return seen.rows.astype(np.float64)

    def device(
        self,
        free: Sequence[int],  # noqa: ARG002
        candidates: Sequence[int],
        shape: WorkerShape,  # noqa: ARG002
    ) -> int:
        """The first."""
        return candidates[0]


class BestFit:
    """The node with the least left over: the sum over resources, each as a part of the largest."""

    volatile = False

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:
        """What is left, 0 to 3."""
        return left_over(seen, shape)

    def device(
        self,
        free: Sequence[int],
        candidates: Sequence[int],
        shape: WorkerShape,  # noqa: ARG002
    ) -> int:
        """The one with the least left over."""
        return tightest(free, candidates)


class Spread(BestFit):
    """The node with the most left over (worst fit): work lies apart, and faults hit less of it."""

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:
        """What is left, the most first."""
        return -left_over(seen, shape)


class RandomFit:
    """Any node that holds it, drawn from a seed."""

    volatile = True

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:  # noqa: ARG002
        """A draw for each node."""
        return self._random.random(len(seen.rows))

    def device(
        self,
        free: Sequence[int],  # noqa: ARG002
        candidates: Sequence[int],
        shape: WorkerShape,  # noqa: ARG002
    ) -> int:
        """A draw."""
        return candidates[int(self._random.integers(len(candidates)))]


class Pack(BestFit):
    """Ours for every day: keep whole devices whole, and processors where devices need them.

    Compared in turn: devices that stay whole and free on a node that this work breaks open, what is
    left over of a device, processors left for each device that is left, and the room that is left.
    """

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:
        """Tight devices first, then spare processors, then tight nodes."""
        free = np.maximum(seen.devices, 0)
        whole = (free == WHOLE).sum(axis=1)
        left = free.sum(axis=1) / WHOLE
        if not shape.flavour:
            # Nodes without free devices first, then those with processors to spare for each.
            per_device = (seen.cpu - shape.cpu) / np.maximum(left, 1e-3)
            spare = np.where(left > 0, 1e3 - np.minimum(per_device, 1e8) * 1e-6, 0.0)
            roomy: Floats = spare + left_over(seen, shape)
            return roomy
        if shape.share:
            fitting = np.where(seen.suits & (free >= shape.share), free, 2 * WHOLE).min(axis=1)
            broken = (fitting == WHOLE) * 10.0 + (fitting - shape.share) / WHOLE
        else:
            broken = (whole - shape.devices) / WHOLE
        tight: Floats = broken * 10.0 + left_over(seen, shape)
        return tight


def left_over(seen: NodeView, shape: WorkerShape) -> Floats:
    """What is left of a node when a worker is there, as parts of the largest node: 0 to 3."""
    cpu, memory, devices = seen.table.largest()
    taken = shape.devices * WHOLE + shape.share
    left: Floats = (
        (seen.cpu - shape.cpu) / cpu
        + (seen.memory - shape.memory) / memory
        + (seen.devices.sum(axis=1) - taken) / devices
    )
    return left
