"""The nodes of the fleet in columns, and what of them is free. Pure.

A node has a row for as long as it is here. Whatever changes a row is logged, so that what is
derived from rows (`fit.Fit`) looks at the changed ones only.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from tessera.controller.scheduling.columns import Booleans, Floats, Integers, NodeColumns
from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.row_log import RowLog
from tessera.controller.scheduling.shape import CPU, MEMORY, WHOLE, WorkerShape

FIRST_ROWS, FIRST_DEVICES = 64, 8
LEVELS = ("domain", "rack", "pool")


class NodeTable:
    """Rows of nodes.

    Attributes:
        free: what is not held; below zero where a node has shrunk.
        totals: what all nodes have, by resource.
        mixed: nodes with devices of several flavours.
        group_sizes: nodes by node group.
        pool_sizes: nodes by pool.
        kept: the part of it that is set aside for work that waits.
        kept_until: when the first that something is set aside for starts, by row.
        log: rows in the order in which they changed.
        version: changes whenever a node does, in anything but what is held.
    """

    def __init__(self) -> None:
        self.nodes: list[Node | None] = []
        self.rows: dict[str, int] = {}
        self.flavours: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.group_sizes: dict[str, int] = {}
        self.pool_sizes: dict[str, int] = {}
        self.mixed = 0
        self.version = 0
        self.log = RowLog()
        self.free = NodeColumns.zeros(FIRST_ROWS, FIRST_DEVICES)
        self.kept = NodeColumns.zeros(FIRST_ROWS, FIRST_DEVICES)
        self.capacity = NodeColumns.zeros(FIRST_ROWS, FIRST_DEVICES)
        self.flavour: Integers = np.full((FIRST_ROWS, FIRST_DEVICES), -1, np.int64)
        self.usable: Booleans = np.zeros(FIRST_ROWS, np.bool_)
        self.sliced: Booleans = np.zeros(FIRST_ROWS, np.bool_)
        self.kept_until: Floats = np.full(FIRST_ROWS, np.inf)
        self.kept_rows: Integers = np.zeros(0, np.int64)
        self.kept_set: frozenset[int] = frozenset()
        self.places: dict[str, Integers] = {name: self._none(FIRST_ROWS) for name in LEVELS}
        self.place_numbers: dict[tuple[str, str], int] = {}
        self._spare: list[int] = []
        self._largest = (1, 1, 1)
        self._largest_at = -1
        self._having: dict[str, Booleans] = {}
        self._having_at = -1

    @staticmethod
    def _none(rows: int) -> Integers:
        return np.full(rows, -1, np.int64)

    @property
    def size(self) -> int:
        """Rows in use or spare."""
        return len(self.nodes)

    @property
    def pools(self) -> int:
        """How many pools there are."""
        return len(self.pool_sizes)

    def node(self, row: int) -> Node:
        """The node of a row."""
        node = self.nodes[row]
        assert node is not None
        return node

    def largest(self) -> tuple[int, int, int]:
        """The most that a node has: processors, memory, devices, each in its unit; at least 1."""
        if self._largest_at != self.version:
            self._largest_at = self.version
            have = self.capacity
            devices = have.devices.sum(axis=1)
            self._largest = (
                max(1, int(have.cpu.max())),
                max(1, int(have.memory.max())),
                max(1, int(devices.max())),
            )
        return self._largest

    def put(self, node: Node) -> int:
        """Add a node, or change it; what is held of it stays held. Returns its row."""
        row = self.rows.get(node.id)
        if row is None:
            row = heapq.heappop(self._spare) if self._spare else self._append()
            self.rows[node.id] = row
        else:
            self._count(self.node(row), -1)
        if len(node.devices) > self.free.devices.shape[1]:
            self._grow(len(self.free.cpu), len(node.devices))
        self.nodes[row] = node
        self._count(node, 1)
        self._set_capacity(row, node)
        self.usable[row] = node.usable
        self.sliced[row] = bool(node.slice_name)
        for level, name in (("domain", node.domain), ("rack", node.rack)):
            self.places[level][row] = self._place(level, name)
        # Nodes of no pool are of one that has no name.
        self.places["pool"][row] = self._place("pool", node.pool or "~")
        self._changed(row)
        return row

    def rename(self, old: str, node: Node) -> int:
        """A node that was only to come is here: it takes the other's row."""
        row = self.rows.pop(old)
        self.rows[node.id] = row
        return self.put(node)

    def remove(self, id_: str) -> int:
        """Forget a node; returns the row that it had."""
        row = self.rows.pop(id_)
        self._count(self.node(row), -1)
        self.nodes[row] = None
        self.usable[row] = False
        for columns in (self.free, self.kept, self.capacity):
            columns.clear(np.array([row]))
        self.flavour[row] = -1
        heapq.heappush(self._spare, row)
        self._changed(row)
        return row

    def take(self, row: int, shape: WorkerShape, picked: tuple[int, ...]) -> None:
        """A worker holds its share of a node, on these devices."""
        self._move(row, shape, picked, -1)

    def give(self, row: int, shape: WorkerShape, picked: tuple[int, ...]) -> None:
        """A worker holds nothing any more."""
        self._move(row, shape, picked, 1)

    def _move(self, row: int, shape: WorkerShape, picked: tuple[int, ...], sign: int) -> None:
        self.free.cpu[row] += sign * shape.cpu
        self.free.memory[row] += sign * shape.memory
        amount = sign * (shape.share or WHOLE)
        for device in picked:
            self.free.devices[row, device] += amount
        self.log.append(row)

    def having(self, flavour: str) -> Booleans:
        """Whether a row has a device of a flavour, [rows]."""
        if self._having_at != self.version:
            self._having_at = self.version
            self._having.clear()
        if flavour not in self._having:
            number = self.flavours.get(flavour, -2)
            self._having[flavour] = (self.flavour == number).any(axis=1)
        return self._having[flavour]

    def kept_of(self, row: int) -> list[int] | None:
        """What is set aside on a row: processors, memory, each device; None: nothing is."""
        if row not in self.kept_set:
            return None
        kept = self.kept
        return [int(kept.cpu[row]), int(kept.memory[row]), *kept.devices[row].tolist()]

    def keep(self, rows: Mapping[int, tuple[float, Sequence[int]]]) -> None:
        """Set aside, on these rows and no others: until when, and what, as `kept_of` says it."""
        for row, (until, amounts) in rows.items():
            self.kept.cpu[row], self.kept.memory[row] = amounts[0], amounts[1]
            self.kept.devices[row, : len(amounts) - 2] = amounts[2:]
            self.kept_until[row] = until
            self.log.append(row)
        self.set_kept_rows(tuple(rows))

    def restore(self, rows: int, nodes: Mapping[int, Node]) -> None:
        """Put nodes on the rows that they had, of so many, into an empty table."""
        for row in range(rows):
            self._append()
            if row in nodes:
                self.rows[nodes[row].id] = row
                self.nodes[row] = nodes[row]
                self._count(nodes[row], 1)
                self.put(nodes[row])
            else:
                heapq.heappush(self._spare, row)

    def set_kept_rows(self, rows: Sequence[int]) -> None:
        """Something is set aside on these rows, and on no others."""
        self.kept_set = frozenset(rows)
        self.kept_rows = np.array(sorted(rows), np.int64)

    def fork(self, free: NodeColumns) -> Self:
        """The same nodes with something else free and nothing set aside, to try things on."""
        other = type(self)()
        for name, value in vars(self).items():
            setattr(other, name, value)
        other.free, other.log = free, RowLog()
        other.kept = NodeColumns.zeros(*self.free.devices.shape)
        other.kept_until = np.full(len(self.free.cpu), np.inf)
        other.set_kept_rows(())
        return other

    def _changed(self, row: int) -> None:
        self.version += 1
        self.log.append(row)

    def _append(self) -> int:
        self.nodes.append(None)
        if len(self.nodes) > len(self.free.cpu):
            self._grow(2 * len(self.free.cpu), self.free.devices.shape[1])
        return len(self.nodes) - 1

    def _grow(self, rows: int, devices: int) -> None:
        old, width = self.flavour.shape
        self.free = self.free.grown(rows, devices)
        self.kept = self.kept.grown(rows, devices)
        self.capacity = self.capacity.grown(rows, devices)
        flavour = np.full((rows, devices), -1, np.int64)
        flavour[:old, :width] = self.flavour
        self.flavour = flavour
        more = rows - old
        self.usable = np.append(self.usable, np.zeros(more, np.bool_))
        self.sliced = np.append(self.sliced, np.zeros(more, np.bool_))
        self.kept_until = np.append(self.kept_until, np.full(more, np.inf))
        for level in LEVELS:
            self.places[level] = np.append(self.places[level], self._none(more))

    def _set_capacity(self, row: int, node: Node) -> None:
        """Put on a row what a node has, and leave what is held of it."""
        width = self.free.devices.shape[1]
        devices = np.zeros(width, np.int64)
        devices[: len(node.devices)] = WHOLE
        flavour = self._none(width)
        for place, name in enumerate(node.devices):
            flavour[place] = self.flavours.setdefault(name, len(self.flavours))
        self.free.cpu[row] += node.cpu - self.capacity.cpu[row]
        self.free.memory[row] += node.memory - self.capacity.memory[row]
        self.free.devices[row] += devices - self.capacity.devices[row]
        self.capacity.cpu[row], self.capacity.memory[row] = node.cpu, node.memory
        self.capacity.devices[row] = devices
        self.flavour[row] = flavour

    def _count(self, node: Node, sign: int) -> None:
        amounts = [(CPU, node.cpu), (MEMORY, node.memory)]
        amounts += [(flavour, WHOLE) for flavour in node.devices]
        for name, amount in amounts:
            self.totals[name] = self.totals.get(name, 0) + sign * amount
        self.mixed += sign * (len(set(node.devices)) > 1)
        self.pool_sizes[node.pool] = self.pool_sizes.get(node.pool, 0) + sign
        if not self.pool_sizes[node.pool]:
            del self.pool_sizes[node.pool]
        if node.group:
            self.group_sizes[node.group] = self.group_sizes.get(node.group, 0) + sign

    def _place(self, level: str, name: str) -> int:
        if not name:
            return -1
        return self.place_numbers.setdefault((level, name), len(self.place_numbers))
