"""Nodes, queues, what waits and what is held: kept current by deltas. Pure.

Times are seconds of whatever clock the caller has. Whatever changes is told here, once, and
`schedule` looks at what that may have changed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tessera.controller.scheduling.allocation import AllocatedWorker, Allocation, EndTimes
from tessera.controller.scheduling.decisions import NodeReservation
from tessera.controller.scheduling.growth import Growth
from tessera.controller.scheduling.node import Node, NodeGroup
from tessera.controller.scheduling.node_table import NodeTable
from tessera.controller.scheduling.option import Option, options
from tessera.controller.scheduling.packing import Pack, Policy
from tessera.controller.scheduling.placing import Ground, find
from tessera.controller.scheduling.promise import Promise
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.quota import Quotas
from tessera.controller.scheduling.shape import CPU, MEMORY
from tessera.controller.scheduling.waiting import WaitingWorkloads, WorkloadClass
from tessera.controller.scheduling.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundNode:
    """A node that its group had to make is here: what was promised a place on it has it."""

    workload: str
    pending: str
    node: str


class SchedulerState:
    """All that a pass depends on.

    Attributes:
        reservations: of the last pass, by the work that they are for.
        promises: what others give up, by the work that they go for.
        search_at: from when on to look again who might go for some work: nobody could.
        on_node: work that holds something, by node.
        preemptible: running work that may be asked to go, by queue, in the order of its start.
        priorities: how much of it each queue has, by priority.
        going: what was asked to go.
        changed: something was given back or has come that may help anybody who waits.
        fresh: classes that no pass has looked at.
        wake_at: when something changes by itself: somebody may be preempted from then on.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.ground = Ground(table=NodeTable(), policy=policy or Pack())
        self.quotas = Quotas()
        self.waiting = WaitingWorkloads()
        self.allocations: dict[str, Allocation] = {}
        self.times = EndTimes()
        self.growth = Growth()
        self.reservations: dict[str, NodeReservation] = {}
        self.promises: dict[str, Promise] = {}
        self.search_at: dict[str, float] = {}
        self.on_node: dict[str, dict[str, None]] = {}
        self.preemptible: dict[str, dict[str, Allocation]] = {}
        self.priorities: dict[str, dict[int, int]] = {}
        self.changed = True
        self.fresh: dict[WorkloadClass, None] = {}
        self.wake_at: float | None = None
        self.going: dict[str, Allocation] = {}
        self._ever: dict[Hashable, bool] = {}
        self._ever_at = -1
        self._flavours: tuple[str, ...] = ()
        self._flavours_at = -1

    @property
    def table(self) -> NodeTable:
        """The nodes."""
        return self.ground.table

    @property
    def anything_aside(self) -> bool:
        """Whether something is set aside, before which new work might come."""
        return bool(self.reservations or self.quotas.claims)

    def flavours(self) -> tuple[str, ...]:
        """The flavours of devices that are here, or that groups make."""
        if self._flavours_at != self.table.version:
            self._flavours_at = self.table.version
            names = {name for name, total in self.table.totals.items() if total}
            for group in self.growth.groups.values():
                names.update(group.template.devices)
            known = tuple(sorted(names - {CPU, MEMORY}))
            if known != self._flavours:
                self._flavours = known
        return self._flavours

    def ways(self, work: Workload) -> tuple[Option, ...]:
        """The ways to place work that does not wait, or not yet."""
        return options(work, self.flavours())

    def could_ever(self, work: Workload, way: Option) -> bool:
        """Whether the fleet could hold work, if nothing else were here and all groups grew.

        Nodes that are out of use for now count.
        """
        if self._ever_at != self.table.version:
            self._ever_at = self.table.version
            self._ever.clear()
        key = way.shapes, way.counts, work.level if work.level_required else None
        if key not in self._ever:
            self._ever[key] = self._could_ever(work, way)
        return self._ever[key]

    def _could_ever(self, work: Workload, way: Option) -> bool:
        empty = self.ground.fork(self.table.capacity.copy())
        empty.table.usable = np.array([node is not None for node in self.table.nodes], np.bool_)
        empty.table.usable.resize(len(self.table.usable))
        if find(empty, work, way.shapes, way.counts, math.inf) is not None:
            return True
        return any(self._could_grow(empty, way, pool) for pool in self.growth.pools())

    def _could_grow(self, empty: Ground, way: Option, pool: str) -> bool:
        return all(
            empty.total_in(shape, pool)
            + sum(
                left * on_one for left, on_one in self.growth.room(self.table, shape, pool).values()
            )
            >= count
            for shape, count in zip(way.shapes, way.counts, strict=True)
        )

    # Nodes

    def put_node(self, node: Node) -> tuple[BoundNode, ...]:
        """A node is here, or has changed; says whose promised place it is."""
        self.changed = True
        pending = None if node.id in self.table.rows else self.growth.bind(node)
        if pending is None:
            known = node.id in self.table.rows
            row = self.table.put(node)
            if not known:
                self._take_again(node, row)
            return ()
        self.table.rename(pending, node)
        holders = self.on_node.pop(pending, {})
        self.on_node[node.id] = holders
        for id_ in holders:
            for worker in self.allocations[id_].workers:
                if worker.node == pending:
                    worker.node = node.id
        return tuple(BoundNode(workload=id_, pending=pending, node=node.id) for id_ in holders)

    def _take_again(self, node: Node, row: int) -> None:
        """A node is back: what was held of it, and not told to be over, still is."""
        for id_ in self.on_node.get(node.id, ()):
            allocation = self.allocations[id_]
            for worker in allocation.workers:
                if worker.node == node.id:
                    self._take(row, worker, allocation.ends)

    def promise_node(self, pending: str, group: str) -> None:
        """A node that its group was asked for before this state was made; work may be on it."""
        known = self.growth.groups.get(group)
        if known is not None and pending not in self.table.rows:
            self.table.put(self.growth.again(pending, known))

    def remove_node(self, id_: str) -> tuple[str, ...]:
        """A node is gone, or will not be made.

        Returns:
            Whose work was on it, or was promised it: it holds its quota until it is over.
        """
        self.changed = True
        self.growth.drop(id_)
        if id_ not in self.table.rows:
            return ()
        holders = tuple(self.on_node.get(id_, ()))
        for holder in holders:
            for worker in self.allocations[holder].workers:
                if worker.node == id_ and worker.line >= 0:
                    self.times.remove(worker)
        self.table.remove(id_)
        return holders

    def put_group(self, group: NodeGroup) -> None:
        """A group can grow, or may grow otherwise."""
        self.changed, self._ever_at, self._flavours_at = True, -1, -1
        self.growth.groups[group.name] = group

    def remove_group(self, name: str) -> None:
        """A group makes no more nodes."""
        self.changed, self._ever_at, self._flavours_at = True, -1, -1
        self.growth.groups.pop(name, None)

    # Queues

    def put_queues(self, *queues: Queue) -> None:
        """Queues are new, or have changed."""
        self.changed = True
        self.quotas.put(*queues)

    def remove_queue(self, name: str) -> None:
        """A queue is gone; what waits in it waits for it."""
        self.changed = True
        self.quotas.remove(name)

    # Work

    def arrive(self, work: Workload) -> None:
        """Work waits, or what waited has changed."""
        assert work.id not in self.allocations, f"{work.id} is running"
        self._forget(work.id)
        if work.id in self.waiting:
            self.waiting.remove(work.id)
            self.changed = True
        kind = self.waiting.add(work)
        if kind is not None and not kind.stopped:
            self.fresh[kind] = None

    def _forget(self, id_: str) -> None:
        self.promises.pop(id_, None)
        self.search_at.pop(id_, None)

    def release(self, id_: str) -> None:
        """What held work back is gone."""
        work = self.waiting.held.get(id_)
        if work is not None:
            self.arrive(replace(work, hold=None))

    def finish(self, id_: str, now: float) -> None:
        """Work is over, or wants nothing any more, and holds nothing. Unknown work is ignored."""
        self._forget(id_)
        if id_ in self.waiting:
            self.waiting.remove(id_)
            self.changed = True
            return
        allocation = self.allocations.pop(id_, None)
        if allocation is None:
            return
        self.changed = True
        self._count(allocation, -1)
        self.going.pop(id_, None)
        self.quotas.give(allocation.work.queue, allocation.amounts, now)
        for worker in allocation.workers:
            if worker.line >= 0:
                self.times.remove(worker)
                self.table.give(self.table.rows[worker.node], worker.shape, worker.devices)
        for node in allocation.nodes:
            self.on_node[node].pop(id_)
            if not self.on_node[node]:
                del self.on_node[node]
        for node in self.growth.idle(allocation.nodes, self.on_node):
            self.table.remove(node)

    def checkpointed(self, id_: str, now: float) -> None:
        """Running work has written what a resume goes on from."""
        if allocation := self.allocations.get(id_):
            allocation.checkpoint = now

    def hold(
        self,
        work: Workload,
        workers: Sequence[AllocatedWorker],
        start: float,
        *,
        taken: bool = False,
    ) -> Allocation:
        """Work holds these places: it was admitted, or was when this state was stored.

        Args:
            work: that holds them.
            workers: all of them.
            start: when it was admitted.
            taken: what is free counts without them already.
        """
        amounts: dict[str, int] = {}
        for worker in workers:
            for resource, amount in worker.shape.amounts().items():
                amounts[resource] = amounts.get(resource, 0) + amount
        allocation = Allocation(
            work=work, start=start, workers=list(workers), amounts=amounts, checkpoint=start
        )
        self._forget(work.id)
        self.allocations[work.id] = allocation
        self._count(allocation, 1)
        self.quotas.take(work.queue, amounts, start)
        for worker in workers:
            self.on_node.setdefault(worker.node, {})[work.id] = None
            if (row := self.table.rows.get(worker.node)) is not None:
                if taken:
                    self.times.add(row, allocation.ends, worker)
                else:
                    self._take(row, worker, allocation.ends)
        return allocation

    def _count(self, allocation: Allocation, sign: int) -> None:
        work = allocation.work
        if work.preemptible:
            mine = self.preemptible.setdefault(work.queue, {})
            if sign > 0:
                mine[work.id] = allocation
            else:
                del mine[work.id]
            counts = self.priorities.setdefault(work.queue, {})
            counts[work.priority] = counts.get(work.priority, 0) + sign
            if not counts[work.priority]:
                del counts[work.priority]

    def _take(self, row: int, worker: AllocatedWorker, ends: float) -> None:
        self.table.take(row, worker.shape, worker.devices)
        self.times.add(row, ends, worker)

    def preempt(self, allocation: Allocation, *, deadline: float, by: str) -> None:
        """Running work is asked to go by a deadline."""
        allocation.deadline, allocation.preempted_by = deadline, by
        self.going[allocation.work.id] = allocation
        self.times.move(allocation.workers, allocation.ends)

    def holders(self, nodes: Iterable[str]) -> list[Allocation]:
        """What holds something of some nodes, each once."""
        ids = {id_: None for node in nodes for id_ in self.on_node.get(node, ())}
        return [self.allocations[id_] for id_ in ids]
