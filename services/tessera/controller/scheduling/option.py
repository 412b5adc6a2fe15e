"""One way to place work: on devices of one flavour. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tessera.controller.scheduling.shape import WorkerShape
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


def options(work: Workload, gpus: tuple[str, ...]) -> tuple[Option, ...]:
    """The ways to place work, the best first; `gpus` are the flavours that there are."""
    counts = tuple(item.min for item in work.sets)
    result = []
    for flavour in _flavours(work, gpus):
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


def _flavours(work: Workload, gpus: tuple[str, ...]) -> tuple[str, ...]:
    if not work.wants_devices:
        return ("",)
    return work.flavours or gpus
