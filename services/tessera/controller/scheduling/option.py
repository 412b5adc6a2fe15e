"""One way to place work: on devices of one flavour. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tessera.controller.scheduling.shape import WorkerShape, kind_of
from tessera.controller.scheduling.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Option:
    """A flavour, the shapes of the work's sets on it, and what the least of it counts for.

    Classes that ask for the same share one: what is found out of it holds for all of them.
    """

    flavour: str
    shapes: tuple[WorkerShape, ...]
    counts: tuple[int, ...]
    amounts: dict[str, int]


ANY_TPU = ("TPU",)
"""Of a workload's flavours: TPUs of whatever generation."""


def options(work: Workload, known: tuple[str, ...]) -> tuple[Option, ...]:
    """The ways to place work, the best first; `known` are the flavours that there are."""
    counts = tuple(item.min for item in work.sets)
    result = []
    for flavour in _flavours(work, known):
        shapes = tuple(
            replace(item.shape, flavour=flavour)
            if item.shape.devices or item.shape.share
            else item.shape
            for item in work.sets
        )
        amounts: dict[str, int] = {}
        for shape, count in zip(shapes, counts, strict=True):
            for resource, amount in shape.amounts().items():
                amounts[resource] = amounts.get(resource, 0) + amount * count
        result.append(Option(flavour=flavour, shapes=shapes, counts=counts, amounts=amounts))
    return tuple(result)


def _flavours(work: Workload, known: tuple[str, ...]) -> tuple[str, ...]:
    if not work.wants_devices:
        return ("",)
    if not work.flavours or work.flavours == ANY_TPU:
        kind = "TPU" if work.flavours else "GPU"
        return tuple(name for name in known if kind_of(name) == kind)
    return work.flavours
