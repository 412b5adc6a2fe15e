"""Holds a scheduler's state to what must be true of it at every step. Pure.

It counts for itself, from nodes, queues and allocations, and asks the state only for the result.
"""

from __future__ import annotations

from collections.abc import Iterator

from tessera.controller.scheduling import tpu
from tessera.controller.scheduling.allocation import AllocatedWorker, Allocation
from tessera.controller.scheduling.quota import QueueBranch
from tessera.controller.scheduling.shape import WHOLE
from tessera.controller.scheduling.state import SchedulerState


class Auditor:
    """Follows what was sent and what is over, and looks at the state in between."""

    def __init__(self, state: SchedulerState) -> None:
        self.state = state
        self._open: set[str] = set()

    def sent(self, id_: str) -> None:
        """Work was sent."""
        self._open.add(id_)

    def over(self, id_: str) -> None:
        """Work is over, or was taken back."""
        self._open.discard(id_)

    def problems(self) -> list[str]:
        """What is wrong, in sentences; nothing: all is well."""
        return [
            *self._lost(),
            *_nodes(self.state),
            *_gangs(self.state),
            *_quotas(self.state),
        ]

    def _lost(self) -> Iterator[str]:
        running = set(self.state.allocations)
        waiting = {
            work.id for kind in self.state.waiting.classes() for work in kind.members.values()
        }
        waiting |= set(self.state.waiting.held)
        for id_ in sorted(running & waiting):
            yield f"{id_} runs and waits"
        for id_ in sorted(self._open - running - waiting):
            yield f"{id_} is lost"
        for id_ in sorted((running | waiting) - self._open):
            yield f"{id_} is here, though nobody has sent it"


def _nodes(state: SchedulerState) -> Iterator[str]:
    """No node gives more than it has, and what is free is what is not held."""
    held: dict[str, list[AllocatedWorker]] = {}
    for allocation in state.allocations.values():
        for worker in allocation.workers:
            held.setdefault(worker.node, []).append(worker)
    for name, row in state.table.rows.items():
        node, workers = state.table.node(row), held.get(name, [])
        cpu = node.cpu - sum(worker.shape.cpu for worker in workers)
        memory = node.memory - sum(worker.shape.memory for worker in workers)
        devices = [WHOLE] * len(node.devices)
        for worker in workers:
            for device in worker.devices:
                if node.devices[device] != worker.shape.flavour:
                    yield f"{name} gives a {node.devices[device]} for a {worker.shape.flavour}"
                devices[device] -= worker.shape.share or WHOLE
        if min([cpu, memory, *devices]) < 0:
            yield f"{name} gives more than it has: {cpu}, {memory}, {devices} are left"
        table = state.table.free
        seen = table.devices[row].tolist()
        told = (int(table.cpu[row]), int(table.memory[row]), seen[: len(devices)])
        if told != (cpu, memory, devices) or any(seen[len(devices) :]):
            yield f"{name} has {(cpu, memory, devices)} free, not {told}"


def _gangs(state: SchedulerState) -> Iterator[str]:
    """Who runs, runs whole and where it asked to."""
    for id_, allocation in state.allocations.items():
        work = allocation.work
        for number, item in enumerate(work.sets):
            count = sum(worker.set == number for worker in allocation.workers)
            if not item.min <= count <= max(item.min, item.max):
                yield f"{id_} has {count} workers of {item.name}, not {item.min} to {item.max}"
        if len({worker.shape.flavour for worker in allocation.workers} - {""}) > 1:
            yield f"{id_} is on devices of several flavours"
        for worker in allocation.workers:
            shape = worker.shape
            wanted = shape.devices or bool(shape.share)
            if len(set(worker.devices)) != wanted:
                yield f"{id_} has {len(worker.devices)} devices for {wanted}"
        yield from _apart(state, allocation)


def _apart(state: SchedulerState, allocation: Allocation) -> Iterator[str]:
    work = allocation.work
    nodes = [
        state.table.node(state.table.rows[name])
        for name in allocation.nodes
        if name in state.table.rows
    ]
    if work.level is not None and work.level_required:
        places = {node.id if work.level == "host" else getattr(node, work.level) for node in nodes}
        if len(places) > 1 or "" in places:
            yield f"{work.id} lies over {sorted(places)}"
    topology = allocation.workers[0].shape.slice_topology
    if topology and not state.growth.pending and len(nodes) == len(allocation.nodes):
        for name in {node.slice_name for node in nodes}:
            chips = sum(len(node.devices) for node in nodes if node.slice_name == name)
            if chips != tpu.chips_of(topology):
                yield f"{work.id} has {chips} chips of slice {name}"


def _quotas(state: SchedulerState) -> Iterator[str]:
    """What queues use is what their work holds, and is within what they may use."""
    used: dict[str, dict[str, int]] = {}
    for allocation in state.allocations.values():
        mine = used.setdefault(allocation.work.queue, {})
        for resource, amount in allocation.amounts.items():
            mine[resource] = mine.get(resource, 0) + amount
    for name in {*used, *state.quotas.branches}:
        told = {key: value for key, value in state.quotas.used(name).items() if value}
        if told != used.get(name, {}):
            yield f"queue {name} uses {used.get(name, {})}, not {told}"
    for branch in state.quotas.branches.values():
        if branch.parent is None:
            yield from _branch(branch, used)


def _branch(branch: QueueBranch, used: dict[str, dict[str, int]]) -> Iterator[str]:
    """A whole tree uses no more than it has, and a branch no more than its own and its limit."""
    total = _total(branch, used)
    for resource in branch.limited:
        most = _own(branch, resource)
        if branch.parent is not None:
            if resource not in branch.queue.borrowing:
                continue
            most += branch.queue.borrowing[resource]
        if total.get(resource, 0) > most:
            yield f"{branch.queue.name} uses {total[resource]} {resource} of {most}"
    for child in branch.children:
        yield from _branch(child, used)


def _own(branch: QueueBranch, resource: str) -> int:
    """All that a branch and its children have by their queues' own words."""
    nominal = branch.queue.nominal.get(resource, 0)
    return nominal + sum(_own(child, resource) for child in branch.children)


def _total(branch: QueueBranch, used: dict[str, dict[str, int]]) -> dict[str, int]:
    total = dict(used.get(branch.queue.name, {}))
    for child in branch.children:
        for resource, amount in _total(child, used).items():
            total[resource] = total.get(resource, 0) + amount
    return total
