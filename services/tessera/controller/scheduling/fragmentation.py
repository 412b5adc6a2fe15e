"""Fragmentation gradient descent (Weng et al., ATC'23), and ours, which goes on from it. Pure.

What is free on a node is a fragment for a kind of work that cannot use it: all of it where the
node lacks something else for that work, otherwise the devices with too little left. A node's
fragmentation is the mean over the kinds of work that are expected; a worker goes where it grows
least.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tessera.controller.scheduling.columns import Floats, Integers
from tessera.controller.scheduling.node_view import NodeView
from tessera.controller.scheduling.packing import left_over, tightest
from tessera.controller.scheduling.shape import WHOLE, WorkerShape

KINDS = 256
"""Kinds of work that are told apart; the rarest are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkProfile:
    """Which work is expected: a column for each kind, [kinds].

    Args:
        cpu: thousandths of a worker.
        memory: MiB.
        devices: whole ones.
        least: thousandths that one device must have for it.
        weight: how often it comes; they sum to one.
    """

    cpu: Integers
    memory: Integers
    devices: Integers
    least: Integers
    weight: Floats

    @classmethod
    def of(cls, counted: Iterable[tuple[WorkerShape, float]]) -> WorkProfile:
        """From shapes and how often each comes."""
        merged: dict[tuple[int, int, int, int], float] = {}
        for shape, weight in counted:
            least = shape.share or (WHOLE if shape.devices else 0)
            key = (shape.cpu, shape.memory, shape.devices, least)
            merged[key] = merged.get(key, 0.0) + weight
        kinds = sorted(merged, key=lambda key: (-merged[key], key))[:KINDS]
        columns = np.array(kinds, np.int64).reshape(len(kinds), 4).T
        weights: Floats = np.array([merged[key] for key in kinds])
        return cls(
            cpu=columns[0],
            memory=columns[1],
            devices=columns[2],
            least=columns[3],
            weight=weights / max(float(weights.sum()), 1e-9),
        )


def fragmentation(
    profile: WorkProfile, cpu: Integers, memory: Integers, devices: Integers
) -> Floats:
    """Thousandths of devices that are fragments, [n], where so much is free, [n] and [n, d]."""
    total = devices.sum(axis=1, keepdims=True)
    whole = (devices == WHOLE).sum(axis=1, keepdims=True)
    runs = (
        (cpu[:, None] >= profile.cpu)
        & (memory[:, None] >= profile.memory)
        & (whole >= profile.devices)
        & (devices.max(axis=1, keepdims=True) >= profile.least)
        & (profile.least > 0)
    )
    small = devices[:, :, None] * (devices[:, :, None] < profile.least)
    fragments = np.where(runs, small.sum(axis=1), total)
    result: Floats = fragments @ profile.weight
    return result


class FragmentationGradient:
    """The node, and the device on it, where fragmentation grows least."""

    volatile = False

    def __init__(self, profile: WorkProfile) -> None:
        self._profile = profile

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:
        """How much fragmentation grows, in thousandths of devices; below zero: it falls."""
        free = np.maximum(seen.devices, 0)
        before = fragmentation(self._profile, seen.cpu, seen.memory, free)
        cpu, memory = seen.cpu - shape.cpu, seen.memory - shape.memory
        best: Floats = np.full(len(seen.rows), np.inf)
        for after in placements(free, seen, shape):
            worse = (after < 0).any(axis=1)
            grown = fragmentation(self._profile, cpu, memory, np.maximum(after, 0)) - before
            best = np.minimum(best, np.where(worse, np.inf, grown))
        return best

    def device(self, free: Sequence[int], candidates: Sequence[int], shape: WorkerShape) -> int:
        """The one with the least left over, which is where least is cut into pieces."""
        del shape
        return tightest(free, candidates)


def placements(free: Integers, seen: NodeView, shape: WorkerShape) -> list[Integers]:
    """What is free of devices afterwards, by the ways in which a worker may take them.

    A share is tried on the tightest device that holds it and on the one with the most; a way that
    a node does not have is below zero there.
    """
    lines = np.arange(len(free))
    if shape.devices:
        usable = seen.suits & (free == WHOLE)
        taken = usable & (np.cumsum(usable, axis=1) <= shape.devices)
        return [free - WHOLE * taken]
    if not shape.share:
        return [free]
    holds = seen.suits & (free >= shape.share)
    ways = []
    for column in (
        np.where(holds, free, 2 * WHOLE).argmin(axis=1),
        np.where(holds, free, -1).argmax(axis=1),
    ):
        after = free.copy()
        after[lines, column] -= shape.share
        ways.append(after)
    return ways


class LookAhead(FragmentationGradient):
    """Ours: the gradient, and among nodes of about the same one, that with the least left over."""

    TIE = 50.0
    """Thousandths of a device that a whole node's room is worth."""

    def score(self, seen: NodeView, shape: WorkerShape) -> Floats:
        """The growth of fragmentation, and a little for what is left over."""
        return super().score(seen, shape) + self.TIE * left_over(seen, shape)
