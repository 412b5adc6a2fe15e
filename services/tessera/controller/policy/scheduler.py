"""Who runs next, and why the others wait: a function from a snapshot to decisions. Pure.

Order is strict: higher priority first, then the order of arrival. A gang is granted whole or not
at all. Work that does not fit now sets aside what it needs on the pool that suits it best, so
nothing behind it that wants the same resource kind passes it, and work of another kind may only
take what is left over: a stream of small jobs never starves a large one. What cannot start for a
reason of its own (a back-off, an unfinished dependency, a request that no pool holds) sets nothing
aside and blocks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera.controller.policy.demand import Amounts, Capacity, Demand, covers, subtract
from tessera.controller.policy.ledger import Reservation, free


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why work waits: a stable name and a sentence with the figures."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRequest:
    """Work that waits.

    Args:
        key: tells it from all others.
        title: names it for people.
        rank: position in the order of arrival, lower is earlier.
        hold: a reason why it may not start whatever is free.
    """

    key: str
    title: str
    demand: Demand
    priority: int = 0
    rank: str = ""
    hold: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """One pool as the scheduler sees it."""

    capacity: Capacity
    live: bool = True
    foreign: Amounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a decision depends on."""

    pools: tuple[PoolView, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    requests: tuple[PlacementRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A request starts on a pool."""

    key: str
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A request waits; reasons are ranked, most important first."""

    key: str
    reasons: tuple[Reason, ...]


Decision = Admission | Wait


def schedule(snapshot: Snapshot) -> list[Decision]:
    """A decision for every request, in the order in which they were considered."""
    room = {
        view.capacity.pool: free(
            view.capacity.pool, view.capacity.total(), snapshot.reservations, view.foreign
        )
        for view in snapshot.pools
    }
    blocked: dict[str, PlacementRequest] = {}
    ordered = sorted(snapshot.requests, key=lambda request: (-request.priority, request.rank))
    return [_consider(request, snapshot, room, blocked) for request in ordered]


def exceeds(demand: Demand, capacities: tuple[Capacity, ...]) -> str:
    """Which part of a demand no pool could ever hold.

    Returns:
        `accelerator`, `cpus_per_worker` or `workers`; empty where some pool could hold it all.
    """
    if any(capacity.workers(demand) >= demand.workers for capacity in capacities):
        return ""
    nodes = [node for capacity in capacities for node in capacity.nodes]
    if demand.device and not any(
        demand.suits(node) and node.get(demand.device, 0.0) >= demand.count for node in nodes
    ):
        return "accelerator"
    if not any(demand.workers_on(node) for node in nodes):
        return "cpus_per_worker"
    return "workers"


def _consider(
    request: PlacementRequest,
    snapshot: Snapshot,
    room: dict[str, dict[str, float]],
    blocked: dict[str, PlacementRequest],
) -> Decision:
    if request.hold is not None:
        return Wait(key=request.key, reasons=(request.hold,))
    live = [view for view in snapshot.pools if view.live]
    if not live:
        reason = Reason(reason="NO_POOL", message="No pool answers at the moment.")
        return Wait(key=request.key, reasons=(reason,))
    suitable = [v for v in live if v.capacity.workers(request.demand) >= request.demand.workers]
    if not suitable:
        return Wait(key=request.key, reasons=(_too_large(request.demand, live),))
    need = request.demand.total()
    kind = request.demand.kind
    ahead = blocked.get(kind)
    if ahead is None:
        for view in suitable:
            pool = view.capacity.pool
            if covers(room[pool], need):
                room[pool] = subtract(room[pool], need)
                return Admission(key=request.key, pool=pool)
    best = max(suitable, key=lambda view: _headroom(room[view.capacity.pool], need))
    reasons = [_no_room(request.demand, best, snapshot.reservations)]
    if ahead is None:
        blocked[kind] = request
    else:
        reasons.insert(0, _behind(request, ahead))
    pool = best.capacity.pool
    room[pool] = subtract(room[pool], need)
    return Wait(key=request.key, reasons=tuple(reasons))


def _headroom(room: Amounts, need: Amounts) -> float:
    return min((room.get(name, 0.0) - amount for name, amount in need.items()), default=0.0)


def _behind(request: PlacementRequest, ahead: PlacementRequest) -> Reason:
    higher = ahead.priority > request.priority
    return Reason(
        reason="BEHIND_HIGHER_PRIORITY" if higher else "BEHIND_EARLIER",
        message=f"{ahead.title} waits for the same resources and comes first"
        + (f" (priority {ahead.priority} over {request.priority})." if higher else "."),
    )


def _too_large(demand: Demand, live: list[PoolView]) -> Reason:
    capacities = tuple(view.capacity for view in live)
    largest = "; ".join(f"pool {c.pool} has {figures(c.total(), demand)}" for c in capacities)
    return Reason(
        reason="EXCEEDS_EVERY_POOL",
        message=f"It asks for {describe(demand)}, more than any pool has in all: {largest}.",
    )


def _no_room(demand: Demand, view: PoolView, reservations: tuple[Reservation, ...]) -> Reason:
    pool, total = view.capacity.pool, view.capacity.total()
    left = free(pool, total, reservations, view.foreign)
    holders = [
        f"{holding.what} holds {figures(holding.amounts, demand)}"
        for holding in reservations
        if holding.pool == pool
    ]
    if any(view.foreign.values()):
        holders.append(f"others use {figures(view.foreign, demand)}")
    shown, hidden = holders[:5], len(holders) - 5
    text = "; ".join(shown) + (f"; and {hidden} more" if hidden > 0 else "")
    return Reason(
        reason="WAITING_FOR_RESOURCES",
        message=(
            f"It needs {describe(demand)}; pool {pool} has {figures(left, demand)} free of "
            f"{figures(total, demand)}" + (f" ({text})." if text else ".")
        ),
    )


def describe(demand: Demand) -> str:
    """A demand for people, for example `2 workers with 1 CPU and 1 GPU each`."""
    workers = f"{demand.workers} worker" + ("s" if demand.workers != 1 else "")
    parts = [f"{demand.cpus:g} CPU"]
    if demand.device:
        typed = "" if demand.accelerator == demand.device else f" of type {demand.accelerator}"
        parts.append(f"{demand.count:g} {demand.device}{typed}")
    return f"{workers} with {' and '.join(parts)}" + (" each" if demand.workers != 1 else "")


def figures(amounts: Mapping[str, float], demand: Demand) -> str:
    """The amounts of the resources that a demand is about, for example `2.5 CPU`."""
    return " and ".join(f"{amounts.get(n, 0.0):g} {n}" for n in demand.per_worker())
