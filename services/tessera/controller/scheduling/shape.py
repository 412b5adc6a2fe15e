"""What one worker holds on its node. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.accelerator import is_tpu

WHOLE = 1000
"""Thousandths of a device: amounts are whole numbers, so that nothing is lost by rounding."""
CPU = "cpu"
"""Quota of processors, in thousandths."""
MEMORY = "memory"
"""Quota of memory, in MiB."""


def kind_of(flavour: str) -> str:
    """`TPU`, `MIG` or `GPU`, by the name: Ray's accelerator types, NVIDIA's MIG profiles."""
    if is_tpu(flavour):
        return "TPU"
    return "MIG" if "MIG-" in flavour.upper() else "GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerShape:
    """What one worker holds, on devices of one flavour.

    Args:
        cpu: thousandths of a processor.
        memory: MiB.
        devices: how many whole ones.
        share: thousandths of one device, in place of whole ones.
        flavour: of the devices; empty: none are asked for.
        slice_topology: of the TPU slice that it takes a host of, `4x4`; empty: no slice.
        labels: that its node must have.
        excluded: nodes that it must not go to.
    """

    cpu: int = 0
    memory: int = 0
    devices: int = 0
    share: int = 0
    flavour: str = ""
    slice_topology: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    excluded: frozenset[str] = frozenset()

    def amounts(self) -> dict[str, int]:
        """What it counts for in quotas: thousandths of processors and of devices, MiB."""
        result = {CPU: self.cpu, MEMORY: self.memory}
        if self.flavour:
            result[self.flavour] = self.devices * WHOLE + self.share
        return {name: amount for name, amount in result.items() if amount}


def slots(
    cpu: int, memory: int, free: list[int], flavours: tuple[str, ...], shape: WorkerShape
) -> int:
    """How many workers fit into what is free on a node; `free` is by device, in thousandths."""
    limits = []
    if shape.cpu:
        limits.append(cpu // shape.cpu)
    if shape.memory:
        limits.append(memory // shape.memory)
    if shape.flavour:
        mine = [
            amount for amount, name in zip(free, flavours, strict=False) if name == shape.flavour
        ]
        if shape.devices:
            limits.append(sum(amount == WHOLE for amount in mine) // shape.devices)
        else:
            limits.append(sum(max(0, amount) // shape.share for amount in mine))
    return max(0, min(limits, default=MANY))


MANY = 1 << 20
"""Workers that fit where they ask for nothing."""
