"""What is free on some nodes, for one kind of worker: what placement policies judge by. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.controller.scheduling.columns import Booleans, Integers
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.shape import MANY, WHOLE, WorkerShape


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """Some rows of the table.

    Args:
        rows: their numbers, [n].
        cpu: thousandths free, [n].
        memory: MiB free, [n].
        devices: thousandths free of each device, whatever its flavour, [n, devices].
        suits: whether a device is of the flavour asked for, [n, devices].
        table: that the rows are of.
    """

    rows: Integers
    cpu: Integers
    memory: Integers
    devices: Integers
    suits: Booleans
    table: NodeTable


def view(table: NodeTable, rows: Integers, shape: WorkerShape, *, kept: bool) -> NodeView:
    """Look at rows; `kept`: leave alone what is set aside."""
    free = table.free
    cpu, memory, devices = free.cpu[rows], free.memory[rows], free.devices[rows]
    if kept and len(table.kept_rows):
        cpu = cpu - table.kept.cpu[rows]
        memory = memory - table.kept.memory[rows]
        devices = devices - table.kept.devices[rows]
    if table.mixed:
        suits = table.flavour[rows] == table.flavours.get(shape.flavour, -2)
    else:
        suits = np.broadcast_to(table.having(shape.flavour)[rows, None], devices.shape)
    return NodeView(rows=rows, cpu=cpu, memory=memory, devices=devices, suits=suits, table=table)


def slots_by_row(
    cpu: Integers, memory: Integers, devices: Integers, suits: Booleans, shape: WorkerShape
) -> Integers:
    """How many workers fit into what is free, [n]; as `shape.slots` does for one node."""
    slots: Integers = np.full(len(cpu), MANY, np.int64)
    if shape.cpu:
        slots = np.minimum(slots, cpu // shape.cpu)
    if shape.memory:
        slots = np.minimum(slots, memory // shape.memory)
    if shape.devices:
        whole = np.add.reduce((devices == WHOLE) & suits, axis=1)
        slots = np.minimum(slots, whole if shape.devices == 1 else whole // shape.devices)
    elif shape.share:
        shared = (np.maximum(devices, 0) // shape.share * suits).sum(axis=1)
        slots = np.minimum(slots, shared)
    return np.maximum(slots, 0)


def allowed_rows(table: NodeTable, shape: WorkerShape) -> Booleans:
    """Whether a worker may go to a row, whatever is free there, [rows].

    TPU slices are for work that takes a slice, and whole ones only.
    """
    allowed: Booleans = table.usable & (table.sliced == bool(shape.slice_topology))
    if shape.labels or shape.excluded or shape.slice_topology:
        allowed = allowed.copy()
        for row in np.flatnonzero(allowed).tolist():
            node = table.node(row)
            allowed[row] = (
                node.slice_topology == shape.slice_topology
                and node.id not in shape.excluded
                and all(node.labels.get(name) == value for name, value in shape.labels)
            )
    return allowed
