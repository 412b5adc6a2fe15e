"""Amounts, names and times as people read them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tessera.controller.scheduling.shape import CPU, MEMORY, WHOLE, WorkerShape
from tessera.controller.scheduling.workload import Workload

NAMED = 5
"""Names that a sentence gives."""
MIB = 1024
UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def quantity(resource: str, amount: int) -> str:
    """An amount of a resource: `2.5 CPU`, `16 GiB`, `4 H100`."""
    if resource == MEMORY:
        return f"{amount / MIB:g} GiB"
    return f"{amount / WHOLE:g} {'CPU' if resource == CPU else resource}"


def described(shape: WorkerShape) -> str:
    """What a worker holds: `4 CPU, 16 GiB and 1 GPU`."""
    parts = [quantity(CPU, shape.cpu)] if shape.cpu else []
    parts += [quantity(MEMORY, shape.memory)] if shape.memory else []
    if shape.devices or shape.share:
        amount = shape.devices * WHOLE + shape.share
        parts.append(quantity(shape.flavour or "device", amount))
    if len(parts) > 1:
        parts = [", ".join(parts[:-1]), parts[-1]]
    return " and ".join(parts) or "nothing"


def describe(work: Workload) -> str:
    """The least that work starts with: `2 workers with 4 CPU and 1 device each`."""
    parts = []
    for item in work.sets:
        many = item.min != 1
        noun = f"{item.min} {item.name}{'s' if many else ''}"
        parts.append(f"{noun} with {described(item.shape)}{' each' if many else ''}")
    return " and ".join(parts)


def named(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    hidden = len(names) - NAMED
    text = ", ".join(names[:NAMED])
    return f"{text} and {hidden} more" if hidden > 0 else text


def seconds(time: float) -> str:
    """A span of time, rounded down to one unit: `3 h`."""
    for unit, size in UNITS:
        if time >= 2 * size:
            return f"{int(time // size)} {unit}"
    return f"{max(0, int(time))} s"
