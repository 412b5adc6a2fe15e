"""What work asks of a pool, in Ray's resource names. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tessera.accelerator import resource_of

Amounts = Mapping[str, float]
Within = Literal["", "host", "domain", "rack"]

STANDING_CPUS = 0.25
"""CPUs that each of the coordinator and the shards declares."""
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A gang of `workers` equal workers.

    Args:
        workers: that it can use.
        min_workers: without which it does not start; 0: all.
        cpus: of each.
        memory: of each, in MiB.
        accelerator: Ray's accelerator type; `GPU` or `TPU` takes any of them; empty: CPU only.
        count: of accelerators, of each worker; below one, a share of one.
        alternatives: other types that will do, the best first.
        topology: of the TPU slice that it takes whole, `4x4`; empty: no slice.
        node_selector: labels that the node of each must have.
        within: all its workers within one of these; empty: anywhere in a pool.
        within_required: whether it waits for that.
    """

    workers: int
    min_workers: int = 0
    cpus: float
    memory: int = 0
    accelerator: str = ""
    count: float = 0.0
    alternatives: tuple[str, ...] = ()
    topology: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    within: Within = ""
    within_required: bool = True

    @property
    def device(self) -> str:
        """Ray's resource name of the accelerator; empty: none."""
        return resource_of(self.accelerator)

    def per_worker(self) -> dict[str, float]:
        """What one worker holds; memory in bytes, as Ray counts it."""
        needs = {"CPU": self.cpus}
        if self.memory:
            needs["memory"] = float(self.memory * MIB)
        if self.device:
            needs[self.device] = self.count
        return needs

    def total(self, workers: int = 0) -> dict[str, float]:
        """What a gang of so many workers holds; 0: of all."""
        count = workers or self.workers
        return {name: amount * count for name, amount in self.per_worker().items()}


def add(*amounts: Amounts) -> dict[str, float]:
    """Sum by name."""
    result: dict[str, float] = {}
    for part in amounts:
        for name, amount in part.items():
            result[name] = result.get(name, 0.0) + amount
    return result


def describe(demand: Demand) -> str:
    """A demand for people, for example `2 workers with 1 CPU and 1 GPU each`."""
    workers = f"{demand.workers} worker" + ("s" if demand.workers != 1 else "")
    parts = [f"{demand.cpus:g} CPU"]
    if demand.memory:
        parts.append(f"{demand.memory:g} MiB of memory")
    if demand.device:
        typed = "" if demand.accelerator == demand.device else f" of type {demand.accelerator}"
        parts.append(f"{demand.count:g} {demand.device}{typed}")
    listed = ", ".join(parts[:-1]) + (" and " if parts[:-1] else "") + parts[-1]
    return f"{workers} with {listed}" + (" each" if demand.workers != 1 else "")
