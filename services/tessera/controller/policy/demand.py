"""What work asks of a pool, in Ray's resource names. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Amounts = Mapping[str, float]

EPSILON = 1e-6
STANDING_CPUS = 0.25
"""CPUs that each of the coordinator and the shards declares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A gang of `workers` equal workers.

    `accelerator` is Ray's accelerator type; `GPU` takes any GPU; empty: CPU only.
    """

    workers: int
    cpus: float
    accelerator: str = ""
    count: float = 0.0

    @property
    def kind(self) -> str:
        """The resource that this demand competes for first."""
        return self.device or "CPU"

    @property
    def device(self) -> str:
        """Ray's resource name of the accelerator; empty: none."""
        if not self.accelerator:
            return ""
        return "TPU" if self.accelerator.upper().startswith("TPU") else "GPU"

    def per_worker(self) -> dict[str, float]:
        """What one worker holds."""
        needs = {"CPU": self.cpus}
        if self.device:
            needs[self.device] = self.count
        return needs

    def total(self) -> dict[str, float]:
        """What the gang holds."""
        return {name: amount * self.workers for name, amount in self.per_worker().items()}

    def suits(self, node: Amounts) -> bool:
        """Whether a node is of the accelerator type asked for."""
        if self.accelerator in {"", "GPU", "TPU"}:
            return True
        return node.get(f"accelerator_type:{self.accelerator}", 0.0) > 0

    def workers_on(self, node: Amounts) -> int:
        """How many workers an empty node holds."""
        if not self.suits(node):
            return 0
        return min(
            int((node.get(name, 0.0) + EPSILON) // amount)
            for name, amount in self.per_worker().items()
            if amount > 0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a pool has: the resources of each of its nodes."""

    pool: str
    nodes: tuple[Amounts, ...] = field(default=())

    def total(self) -> dict[str, float]:
        """Sum over the nodes."""
        return add(*self.nodes)

    def workers(self, demand: Demand) -> int:
        """How many workers of a demand the pool holds when it is empty."""
        return sum(demand.workers_on(node) for node in self.nodes)


def add(*amounts: Amounts) -> dict[str, float]:
    """Sum by name."""
    result: dict[str, float] = {}
    for part in amounts:
        for name, amount in part.items():
            result[name] = result.get(name, 0.0) + amount
    return result


def subtract(left: Amounts, *others: Amounts) -> dict[str, float]:
    """Difference by name; may go below zero."""
    result = dict(left)
    for name, amount in add(*others).items():
        result[name] = result.get(name, 0.0) - amount
    return result


def covers(free: Amounts, need: Amounts) -> bool:
    """Whether `free` holds all of `need`."""
    return all(free.get(name, 0.0) + EPSILON >= amount for name, amount in need.items())
