"""What pools have and whether they answer, by Ray's state API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from tessera import errors
from tessera.controller.policy.demand import Amounts
from tessera.controller.policy.records import Pool
from tessera.controller.pools.launcher import RayHttp, answer_of
from tessera.controller.pools.nodes import less, of_ray, total_of
from tessera.controller.pools.tasks import PoolTasks
from tessera.controller.scheduling.node import Node

log = structlog.get_logger()

_MALFORMED = (KeyError, ValueError, TypeError, AttributeError)
"""What comes of reading an answer that is built otherwise than Ray's."""

PATIENCE = 1.0
"""Seconds in which a pool that is well has answered."""

UNSEEN_SECONDS = 10.0
"""After so long without an answer a pool gets no new work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """What is known of a pool; `cluster` tells one Ray cluster at its address from the next."""

    pool: Pool
    nodes: tuple[Node, ...] = ()
    available: Amounts = field(default_factory=dict)
    cluster: str = ""
    seen: float | None = None
    message: str = "It has not answered yet."

    @property
    def live(self) -> bool:
        """Whether it answered lately."""
        return self.seen is not None and time.monotonic() - self.seen < UNSEEN_SECONDS

    @property
    def total(self) -> dict[str, float]:
        """What it has in all, as last seen."""
        return total_of(self.nodes)

    def offered(self) -> tuple[Node, ...]:
        """Its nodes for the scheduler: without what others use, and unhealthy while unseen."""
        nodes = less(self.nodes, self.pool.foreign)
        return nodes if self.live else tuple(replace(node, healthy=False) for node in nodes)


class Pools:
    """The registered pools and their latest state, in their order of registration."""

    def __init__(self, http: RayHttp) -> None:
        self._http = http
        self._states: dict[str, PoolState] = {}
        self._tasks = PoolTasks("state")
        self._offered: dict[str, object] = {}

    def set(self, pool: Pool) -> None:
        """Add a pool, or change its address."""
        old = self._states.get(pool.name)
        if old is not None and old.pool.dashboard_url == pool.dashboard_url:
            self._states[pool.name] = replace(old, pool=pool)
        else:
            self._states[pool.name] = PoolState(pool=pool)

    def remove(self, name: str) -> None:
        """Forget a pool."""
        self._states.pop(name, None)

    def get(self, name: str) -> PoolState | None:
        """One pool's state."""
        return self._states.get(name)

    def all(self) -> list[PoolState]:
        """Every pool's state."""
        return list(self._states.values())

    async def refresh(self, patience: float = PATIENCE) -> bool:
        """Ask every pool; one that takes longer than `patience` seconds is left to it.

        Returns whether any has changed in what it offers since the last time.
        """
        for state in self.all():
            self._tasks.start(state.pool.name, partial(self._ask, state.pool))
        await self._tasks.settle(patience)
        before = self._offered
        self._offered = {name: _offer(state) for name, state in self._states.items()}
        return before != self._offered

    async def _ask(self, pool: Pool) -> None:
        try:
            version = await self._json(pool, "/api/version")
            nodes = await self._json(pool, "/api/v0/nodes?detail=1&limit=10000")
            usage = await self._json(pool, "/api/cluster_status")
            found = of_ray(pool.name, nodes["data"]["result"]["result"])
            available = _available(usage, total_of(found))
        except (errors.UnavailableError, *_MALFORMED) as error:
            state = self._state_at(pool)
            if state is None:
                return
            if state.live:
                log.info("pool does not answer", pool=pool.name, message=errors.describe(error))
            self._states[pool.name] = replace(state, message=errors.describe(error))
            return
        cluster = str(version.get("session_name") or "")
        old = self._state_at(pool)
        if old is None:
            return
        if old.cluster != cluster:
            log.info("pool seen", pool=pool.name, cluster=cluster, before=old.cluster)
        self._states[pool.name] = PoolState(
            pool=old.pool,
            nodes=found,
            available=available,
            cluster=cluster,
            seen=time.monotonic(),
            message="" if found else "The cluster has no live node.",
        )

    def _state_at(self, pool: Pool) -> PoolState | None:
        """The state of a pool that was asked; None: it has moved since, or is gone."""
        state = self._states.get(pool.name)
        moved = state is None or state.pool.dashboard_url != pool.dashboard_url
        return None if moved else state

    async def _json(self, pool: Pool, path: str) -> dict[str, Any]:
        return answer_of(pool, await self._http.call(pool, "GET", path))


def _offer(state: PoolState) -> tuple[object, ...]:
    return state.nodes, state.live, state.cluster


def _available(answer: Mapping[str, Any], total: Amounts) -> dict[str, float]:
    report = ((answer.get("data") or {}).get("clusterStatus") or {}).get("loadMetricsReport") or {}
    usage = report.get("usage") or {}
    return {name: float(of) - float(used) for name, (used, of) in usage.items() if name in total}
