"""Node groups that can grow, and the nodes that they have been asked for. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tessera.controller.scheduling.node import PENDING, Node, NodeGroup
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.shape import WHOLE, WorkerShape, slots


class Growth:
    """Groups, and for each the units that are still to be made.

    A unit is a node, or a whole TPU slice. Until its nodes are here they stand in the table under
    names of the group's, so that others can be promised what is left of them.
    """

    def __init__(self) -> None:
        self.groups: dict[str, NodeGroup] = {}
        self.pending: dict[str, str] = {}
        self._slices: dict[str, str] = {}
        self._next = 0

    def ask(self, group: NodeGroup) -> list[Node]:
        """The nodes of one more unit."""
        self._next += 1
        nodes = group.pending(self._next)
        self.pending.update({node.id: group.name for node in nodes})
        return nodes

    def again(self, pending: str, group: NodeGroup) -> Node:
        """A node that was asked for before this state was made."""
        unit = unit_of(pending)
        number = unit.rpartition(PENDING)[2]
        self._next = max(self._next, int(number) if number.isdecimal() else 0)
        self.pending[pending] = group.name
        sliced = unit if group.template.slice_topology else ""
        return replace(group.template, id=pending, slice_name=sliced, group=group.name)

    def bind(self, node: Node) -> str | None:
        """For which pending node a new one is; None: nobody asked for it."""
        candidates = [id_ for id_, group in self.pending.items() if group == node.group]
        if node.slice_name:
            bound = self._slices.setdefault(node.slice_name, "")
            taken = {unit for name, unit in self._slices.items() if name != node.slice_name}
            candidates = [id_ for id_ in candidates if not bound or unit_of(id_) == bound]
            candidates = [id_ for id_ in candidates if unit_of(id_) not in taken]
        if not candidates:
            return None
        if node.slice_name:
            self._slices[node.slice_name] = unit_of(candidates[0])
        self.pending.pop(candidates[0])
        return candidates[0]

    def drop(self, pending: str) -> None:
        """A node will not be made."""
        self.pending.pop(pending, None)

    def dump(self) -> dict[str, Any]:
        """What it knows beside its groups, for `load`."""
        return {"pending": self.pending, "slices": self._slices, "next": self._next}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Know again what was dumped."""
        self.pending, self._slices = dict(saved["pending"]), dict(saved["slices"])
        self._next = saved["next"]

    def idle(self, nodes: Iterable[str], wanted: Container[str]) -> list[str]:
        """Those pending units that nobody wants any more: forgets them, and says their nodes."""
        units = {unit_of(node) for node in nodes if node in self.pending}
        gone = []
        for unit in sorted(units):
            hosts = [id_ for id_ in self.pending if unit_of(id_) == unit]
            if not any(host in wanted for host in hosts):
                gone += hosts
        for id_ in gone:
            self.pending.pop(id_)
        return gone

    def units(self, group: NodeGroup, table: NodeTable) -> int:
        """Nodes, or slices, that a group has or has been asked for."""
        return -(-table.group_sizes.get(group.name, 0) // group.hosts)

    def pools(self) -> list[str]:
        """The pools that have groups."""
        return sorted({group.template.pool for group in self.groups.values()})

    def room(
        self, table: NodeTable, shape: WorkerShape, pool: str
    ) -> Mapping[str, tuple[int, int]]:
        """For each group of a pool: units that may still come, and how many workers fit on one."""
        result = {}
        for name in sorted(self.groups):
            group = self.groups[name]
            if group.template.pool != pool:
                continue
            on_one = slots_on(group, shape)
            if on_one:
                left = max(0, group.max - self.units(group, table))
                result[name] = (left, on_one)
        return result


def slots_on(group: NodeGroup, shape: WorkerShape) -> int:
    """How many workers fit on a unit of a group."""
    on_node = slots_of(group.template, shape) if group.template.usable else 0
    return group.hosts if shape.slice_topology and on_node == 1 else on_node


def holds(node: Node, shape: WorkerShape) -> bool:
    """Whether a worker fits on a node when nothing else is there."""
    return slots_of(node, shape) > 0


def slots_of(node: Node, shape: WorkerShape) -> int:
    """How many workers fit on a node when nothing else is there."""
    suits = node.slice_topology == shape.slice_topology and all(
        node.labels.get(name) == value for name, value in shape.labels
    )
    if not suits:
        return 0
    free = [WHOLE] * len(node.devices)
    return slots(node.cpu, node.memory, free, node.devices, shape)


def unit_of(pending: str) -> str:
    """The unit of a pending node."""
    return pending.rpartition(".")[0] if "." in pending.rpartition(PENDING)[2] else pending
