"""What stands in the way of work that waits, found on the state that a pass has left. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tessera.controller.scheduling.allocation import Allocation
from tessera.controller.scheduling.decisions import Reason
from tessera.controller.scheduling.figures import describe, named, quantity, seconds
from tessera.controller.scheduling.growth import holds
from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.option import Option
from tessera.controller.scheduling.placing import Ground, find, put_back
from tessera.controller.scheduling.quota import Shortage
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import Workload


@dataclass(slots=True, kw_only=True)
class Obstacles:
    """Of one piece of work that waits for room or quota."""

    state: SchedulerState
    work: Workload
    now: float

    def reasons(self) -> tuple[Reason, ...]:
        """Ranked: what will never pass, then what must go first."""
        wrong = self._wrong()
        if wrong is not None:
            return (wrong,)
        kind = self.state.waiting.class_of(self.work.id)
        every = self.state.waiting.ways(kind, self.state.flavours())
        ways = [way for way in every if self._possible(way)]
        if not ways:
            return (self._impossible(every),)
        own = self.state.quotas.lift(self.work.id)
        try:
            found = [reason for way in ways for reason in self._of(way)]
        finally:
            if own is not None:
                self.state.quotas.restore(self.work.id, own)
        unique = {(reason.code, reason.message): reason for reason in found}
        if not unique:
            return (self._next(),)
        return tuple(sorted(unique.values(), key=lambda reason: "QUOTA" in reason.code))

    def _wrong(self) -> Reason | None:
        branch = self.state.quotas.branches.get(self.work.queue)
        if branch is None:
            return Reason(
                code="QUEUE_NOT_FOUND",
                message=f"There is no queue {self.work.queue}.",
                about={"queue": self.work.queue},
            )
        if branch.children:
            return Reason(
                code="QUEUE_HAS_CHILDREN",
                message=f"Queue {self.work.queue} is a branch: work waits in its children.",
                about={"queue": self.work.queue},
            )
        return None

    def _possible(self, way: Option) -> bool:
        return self.state.could_ever(self.work, way) and not self._beyond_quota(way)

    def _beyond_quota(self, way: Option) -> bool:
        branch = self.state.quotas.branches[self.work.queue]
        return any(
            amount > branch.most(resource)
            for resource, amount in way.amounts.items()
            if resource in branch.limited
        )

    def _impossible(self, ways: Sequence[Option]) -> Reason:
        for way in ways:
            if not self.state.could_ever(self.work, way):
                continue
            branch = self.state.quotas.branches[self.work.queue]
            resource, amount = next(
                (resource, amount)
                for resource, amount in way.amounts.items()
                if resource in branch.limited and amount > branch.most(resource)
            )
            most = branch.most(resource)
            return Reason(
                code="EXCEEDS_QUOTA",
                message=(
                    f"It asks for {quantity(resource, amount)}; queue {self.work.queue} may "
                    f"never use more than {quantity(resource, most)}."
                ),
                about={
                    "queue": self.work.queue,
                    "resource": resource,
                    "missing": str(amount - most),
                },
            )
        flavours = sorted({way.flavour for way in ways if way.flavour})
        return Reason(
            code="EXCEEDS_EVERY_POOL",
            message=(
                f"It asks for {describe(self.work)}"
                + (f" of {' or '.join(flavours)}" if flavours else "")
                + ": more than the fleet holds when nothing else is on it."
            ),
            about={"flavours": ",".join(flavours)},
        )

    def _of(self, way: Option) -> Iterator[Reason]:
        shortage = self.state.quotas.shortage(self.work.queue, way.amounts)
        if shortage is not None:
            yield self._quota(way, shortage)
            return
        fork = self.state.ground.fork(self.state.table.free.copy())
        if self._fits(fork, way):
            yield from self._kept(way)
        else:
            yield from self._held(way, fork)

    def _fits(self, ground: Ground, way: Option) -> bool:
        placed = find(ground, self.work, way.shapes, way.counts, math.inf)
        put_back(ground.table, placed or ())
        return placed is not None

    # Quota

    def _quota(self, way: Option, shortage: Shortage) -> Reason:
        claims = self._claims_in_way(way)
        what = quantity(shortage.resource, shortage.missing)
        about = {
            "queue": shortage.queue,
            "resource": shortage.resource,
            "missing": str(shortage.missing),
        }
        if claims:
            return self._aside(claims, what, about)
        users = self._users_in_way(way)
        if not users and self.state.quotas.claims:
            # Neither alone would do: what is set aside comes first.
            return self._aside(list(self.state.quotas.claims), what, about)
        return Reason(
            code="BORROWING_LIMIT_REACHED" if shortage.borrowing else "WAITING_FOR_QUOTA",
            message=(
                f"{what} more than queue {shortage.queue} has left are needed"
                + (f"; {named([a.work.id for a in users])} would free them" if users else "")
                + "."
            ),
            about={**about, "used_by": ",".join(a.work.id for a in users), **_until(users)},
        )

    def _aside(self, claims: Sequence[str], what: str, about: dict[str, str]) -> Reason:
        return Reason(
            code="QUOTA_SET_ASIDE",
            message=(
                f"{what} of queue {about['queue']} that it lacks are set aside for "
                f"{named(claims)}, which came first."
            ),
            about={**about, "for": ",".join(claims)},
        )

    def _claims_in_way(self, way: Option) -> list[str]:
        """For whom quota is set aside that would do; nobody: it would not do."""
        quotas, lifted = self.state.quotas, []
        needed: list[str] = []
        for id_ in reversed(list(quotas.claims)):
            claim = quotas.lift(id_)
            assert claim is not None
            lifted.append((id_, claim))
            if quotas.shortage(self.work.queue, way.amounts) is None:
                needed = [name for name, _ in lifted]
                break
        for id_, claim in reversed(lifted):
            quotas.restore(id_, claim)
        return needed

    def _users_in_way(self, way: Option) -> list[Allocation]:
        """Running work that ends first and whose quota would do, what is set aside let alone."""
        quotas, gone = self.state.quotas, []
        mine = set(way.amounts)
        for allocation in sorted(
            self.state.allocations.values(), key=lambda a: (a.ends, -a.start, a.work.id)
        ):
            if mine.isdisjoint(allocation.amounts):
                continue
            quotas.pretend(allocation.work.queue, allocation.amounts, -1)
            gone.append(allocation)
            if quotas.shortage(self.work.queue, way.amounts) is None:
                break
        enough = quotas.shortage(self.work.queue, way.amounts) is None
        needed = []
        for allocation in reversed(gone):
            quotas.pretend(allocation.work.queue, allocation.amounts, 1)
            if enough and quotas.shortage(self.work.queue, way.amounts) is not None:
                needed.append(allocation)
                quotas.pretend(allocation.work.queue, allocation.amounts, -1)
        for allocation in needed:
            quotas.pretend(allocation.work.queue, allocation.amounts, 1)
        return needed

    # Room

    def _kept(self, way: Option) -> Iterator[Reason]:
        """There is room, but it is kept for others."""
        table = self.state.table
        fits = [self.state.ground.fit(shape, kept=False) for shape in way.shapes]
        able = {row for fit in fits for row in np.flatnonzero(fit.slots).tolist()}
        rows = able & set(table.kept_rows.tolist())
        names = {table.node(row).id for row in rows}
        keepers = [
            item
            for item in self.state.reservations.values()
            if item.workload != self.work.id and names & set(item.nodes)
        ]
        if not keepers:
            return
        starts = [item.starts for item in keepers if item.starts is not None]
        soon = min(starts, default=None)
        yield Reason(
            code="RESERVED",
            message=(
                f"There is room for {describe(self.work)}, but it is kept for "
                f"{named([item.workload for item in keepers])}, which comes first"
                + (
                    f"; with a time limit of less than {seconds(soon - self.now)} it could "
                    "start before"
                    if soon is not None
                    else ""
                )
                + "."
            ),
            about={
                "for": ",".join(item.workload for item in keepers),
                **({"starts": f"{soon:.0f}"} if soon is not None else {}),
            },
        )

    def _held(self, way: Option, fork: Ground) -> Iterator[Reason]:
        """There is no room: who holds it, and who comes first."""
        mine = self.state.reservations.get(self.work.id)
        going = [a for a in self.state.going.values() if a.preempted_by == self.work.id]
        if going:
            yield Reason(
                code="PREEMPTING",
                message=f"{named([a.work.id for a in going])} was asked to go for it.",
                about={"held_by": ",".join(a.work.id for a in going), **_until(going)},
            )
        holders = self._holders(way, fork)
        if not holders and (out := self._out_of_use(way)):
            yield self._unavailable(out)
            return
        together = ""
        if self.work.level is not None and self.work.level_required:
            apart = self._fits(fork, way) if not holders else self._anywhere(fork, way)
            together = f" within one {self.work.level}" if apart else ""
        code = "TOPOLOGY" if together else self._spread(way)
        starts = mine.starts if mine else None
        yield Reason(
            code=code,
            message=(
                f"{_first_upper(describe(self.work))} {_plural(self.work)} not free{together}: "
                f"{named([a.work.id for a in holders]) or 'other work'} holds the room"
                + (f"; at the latest in {seconds(starts - self.now)} it starts" if starts else "")
                + "."
            ),
            about={
                "held_by": ",".join(a.work.id for a in holders),
                **({"starts": f"{starts:.0f}"} if starts else {}),
            },
        )

    def _out_of_use(self, way: Option) -> list[Node]:
        """Nodes that would hold a worker and get no work now, where all others do not suffice."""
        table = self.state.table
        if self._fits(self.state.ground.fork(table.capacity.copy()), way):
            return []
        here = [node for node in table.nodes if node is not None and not node.usable]
        return [node for node in here if any(holds(node, shape) for shape in way.shapes)]

    def _unavailable(self, out: Sequence[Node]) -> Reason:
        names = [node.id for node in out]
        return Reason(
            code="NODES_UNAVAILABLE",
            message=(
                f"{named(names)}, which could hold it, get no work now: "
                f"{' or '.join(sorted({node.trouble for node in out}))}."
            ),
            about={"nodes": ",".join(names)},
        )

    def _anywhere(self, fork: Ground, way: Option) -> bool:
        loose = replace(self.work, level=None)
        placed = find(fork, loose, way.shapes, way.counts, math.inf)
        put_back(fork.table, placed or ())
        return placed is not None

    def _spread(self, way: Option) -> str:
        """Whether enough is free in all, only not on nodes that would hold a worker."""
        table = self.state.table
        rows = self.state.ground.fit(way.shapes[0], kept=False).rows
        flavour = table.flavour[rows] == table.flavours.get(way.flavour, -2)
        free = {
            "cpu": int(np.maximum(table.free.cpu[rows], 0).sum()),
            "memory": int(np.maximum(table.free.memory[rows], 0).sum()),
            way.flavour: int((np.maximum(table.free.devices[rows], 0) * flavour).sum()),
        }
        enough = all(free.get(name, 0) >= amount for name, amount in way.amounts.items())
        return "FRAGMENTED" if enough else "NO_ROOM"

    def _holders(self, way: Option, fork: Ground) -> list[Allocation]:
        """Running work, that which ends first, whose end would make room; none: not even all."""
        gone: list[Allocation] = []
        rows = {
            self.state.table.node(int(row)).id
            for shape in way.shapes
            for row in fork.fit(shape, kept=False).rows
        }
        for allocation in sorted(
            self.state.holders(sorted(rows)), key=lambda a: (a.ends, -a.start, a.work.id)
        ):
            _move(fork, allocation, -1)
            gone.append(allocation)
            if self._fits(fork, way):
                break
        enough = self._fits(fork, way)
        needed = []
        for allocation in reversed(gone):
            _move(fork, allocation, 1)
            if enough and not self._fits(fork, way):
                needed.append(allocation)
                _move(fork, allocation, -1)
        for allocation in needed:
            _move(fork, allocation, 1)
        return needed[::-1]

    def _next(self) -> Reason:
        return Reason(
            code="NEXT_PASS",
            message="Nothing stands in its way any more: the next pass starts it.",
            about={},
        )


def _move(ground: Ground, allocation: Allocation, sign: int) -> None:
    for worker in allocation.workers:
        if worker.line >= 0:
            move = ground.table.take if sign > 0 else ground.table.give
            move(ground.table.rows[worker.node], worker.shape, worker.devices)


def _until(users: Iterable[Allocation]) -> dict[str, str]:
    """When the last of them is over at the latest, if they all have a limit."""
    ends = max((user.ends for user in users), default=math.inf)
    return {"starts": f"{ends:.0f}"} if math.isfinite(ends) else {}


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plural(work: Workload) -> str:
    return "is" if work.workers == 1 else "are"
