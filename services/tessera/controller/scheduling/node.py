"""A node of the fleet, and a group of equal nodes that can grow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tessera.controller.scheduling import tpu

EXCLUDED_FROM = 3.0
"""Exclusion score from which a node gets no new work."""
UNKNOWN_MEMORY = 1 << 40
"""MiB of a node that does not say how much it has: memory is no limit there."""
POOL_LABEL = "tessera.io/pool"
"""Label of every node: the pool that it is of."""
PENDING = "~"
"""Between the name of a group and the number of a node that it has not made yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine: what it has in all, less what others than Tessera use.

    Args:
        id: unique over all pools.
        pool: the Ray cluster that it is of.
        cpu: thousandths of a processor.
        memory: MiB.
        devices: the flavour of each device. A MIG instance is a device of a flavour of its own,
            `A100-MIG-3g.20gb`, and the device that was cut is none.
        labels: of Ray or Kubernetes.
        rack: the widest level of topology; empty: not known.
        domain: NVLink domain (`nvidia.com/gpu.clique`); empty: none.
        slice_name: the TPU slice that it is a host of; empty: none.
        slice_topology: of that slice, `4x4`.
        group: the node group that made it; empty: none.
        healthy: it answers, and its devices do.
        cordoned: it gets no new work.
        draining: it gets no new work, and is left by what it has.
        failures: exclusion score: faults of work that were this node's, decayed.
    """

    id: str
    pool: str = ""
    cpu: int
    memory: int
    devices: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    rack: str = ""
    domain: str = ""
    slice_name: str = ""
    slice_topology: str = ""
    group: str = ""
    healthy: bool = True
    cordoned: bool = False
    draining: bool = False
    failures: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether new work may go here."""
        return not self.trouble

    @property
    def trouble(self) -> str:
        """Why no new work may go here; empty: it may."""
        if not self.healthy:
            return "unseen"
        if self.draining:
            return "draining"
        if self.cordoned:
            return "cordoned"
        return "excluded" if self.failures >= EXCLUDED_FROM else ""

    @property
    def flavour(self) -> str:
        """Of its first device; empty: it has none."""
        return self.devices[0] if self.devices else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroup:
    """Equal nodes of a pool that an autoscaler makes and removes; a TPU slice is made whole.

    Args:
        name: of the group.
        template: what one node has; its id is of no account.
        min: nodes, or slices, that are always there.
        max: that there may be.
    """

    name: str
    template: Node
    min: int = 0
    max: int

    @property
    def hosts(self) -> int:
        """Nodes that come at once: one, or all of a slice."""
        if not self.template.slice_topology:
            return 1
        per_host = len(self.template.devices)
        return max(1, tpu.chips_of(self.template.slice_topology) // per_host)

    def pending(self, number: int) -> list[Node]:
        """The nodes of a unit that is still to be made."""
        unit = f"{self.name}{PENDING}{number}"
        sliced = bool(self.template.slice_topology)
        return [
            replace(
                self.template,
                id=f"{unit}.{host}" if sliced else unit,
                slice_name=unit if sliced else "",
                group=self.name,
            )
            for host in range(self.hosts)
        ]
