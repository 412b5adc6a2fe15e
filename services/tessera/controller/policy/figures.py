"""What people see of queues and nodes: read off the scheduler's state. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.shape import CPU, MEMORY, WHOLE
from tessera.controller.scheduling.state import SchedulerState


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """Of one queue, with those that hang on it: what is used, and how much waits and runs."""

    used: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    running: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFigures:
    """Of one node: what it has, what is free, and whose work is on it.

    `state` is READY, UNSEEN, CORDONED, DRAINING, EXCLUDED or PENDING.
    """

    node: Node
    state: str
    capacity: Mapping[str, int]
    free: Mapping[str, int]
    work: tuple[str, ...] = ()


def queue_figures(state: SchedulerState, now: float) -> dict[str, QueueFigures]:
    """Of every queue."""
    waiting: dict[str, int] = {}
    running: dict[str, int] = {}
    for name, classes in state.waiting.queues.items():
        _add(state, waiting, name, sum(len(kind.members) for kind in classes.values()))
    for work in state.waiting.held.values():
        _add(state, waiting, work.queue, 1)
    for allocation in state.allocations.values():
        _add(state, running, allocation.work.queue, 1)
    return {
        name: QueueFigures(
            used={k: v for k, v in branch.history.used.items() if v},
            waiting=waiting.get(name, 0),
            running=running.get(name, 0),
            share=branch.history.dominant(state.table.totals, now),
        )
        for name, branch in state.quotas.branches.items()
    }


def _add(state: SchedulerState, counts: dict[str, int], name: str, number: int) -> None:
    branch = state.quotas.branches.get(name)
    for step in branch.path() if branch else ():
        counts[step.queue.name] = counts.get(step.queue.name, 0) + number


def node_figures(state: SchedulerState, pool: str, after: str, size: int) -> list[NodeFigures]:
    """At most `size` nodes by pool and id, after `pool/id`; `pool` empty: of all pools."""
    nodes = [node for node in state.table.nodes if node is not None and pool in {"", node.pool}]
    nodes.sort(key=_key)
    later = [node for node in nodes if _key(node) > after][:size]
    return [figures_of(state, node) for node in later]


def _key(node: Node) -> str:
    return f"{node.pool}/{node.id}"


def figures_of(state: SchedulerState, node: Node) -> NodeFigures:
    """Of one node."""
    row = state.table.rows[node.id]
    columns = state.table.free
    free = {CPU: int(columns.cpu[row]), MEMORY: int(columns.memory[row])}
    capacity = {CPU: node.cpu, MEMORY: node.memory}
    for device, flavour in enumerate(node.devices):
        free[flavour] = free.get(flavour, 0) + int(columns.devices[row, device])
        capacity[flavour] = capacity.get(flavour, 0) + WHOLE
    return NodeFigures(
        node=node,
        state=_state(state, node),
        capacity=capacity,
        free=free,
        work=tuple(state.on_node.get(node.id, ())),
    )


def _state(state: SchedulerState, node: Node) -> str:
    if node.id in state.growth.pending:
        return "PENDING"
    return node.trouble.upper() or "READY"
