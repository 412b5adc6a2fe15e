"""Work that asks for a place: a job, or the replicas of a deployment. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

from tessera.controller.scheduling.shape import WorkerShape

PLATFORM = 1000
"""Priority from which work comes before all queues: what people wait for, such as deployments."""
Level = Literal["host", "domain", "rack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSet:
    """Equal workers of a gang.

    Args:
        name: their role.
        shape: of one; its flavour is left open.
        min: workers without which nothing starts.
        max: that it can use.
    """

    name: str = "worker"
    shape: WorkerShape
    min: int = 1
    max: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why work waits for something else than room: a back-off, a dependency, a person.

    `until` is when it ends by itself, in seconds; None: somebody lifts it.
    """

    reason: str
    message: str
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Work that starts whole or not at all; every worker of it on devices of one flavour.

    Args:
        id: tells it from all others.
        queue: that it waits in, and whose quota it uses.
        tenant: that it is of.
        user: who sent it.
        sets: its workers; several sets are roles of one gang.
        flavours: of devices that will do, the best first; empty: any GPU.
        priority: higher first, within its queue; from PLATFORM on before all queues.
        preemptible: it may be asked to go, for work that comes before it.
        min_runtime: seconds for which it is not asked to.
        grace: seconds that it has to write a checkpoint and to go.
        limit: seconds after which it is stopped; None: it has none.
        level: all its workers within one of these; None: anywhere.
        level_required: whether it waits for that.
        arrival: when it came, in seconds.
        hold: why it may not start, whatever is free.
    """

    id: str
    queue: str
    tenant: str = ""
    user: str = ""
    sets: tuple[WorkerSet, ...]
    flavours: tuple[str, ...] = ()
    priority: int = 0
    preemptible: bool = True
    min_runtime: float = 0.0
    grace: float = 30.0
    limit: float | None = None
    level: Level | None = None
    level_required: bool = True
    arrival: float = 0.0
    hold: Hold | None = field(default=None)

    @property
    def workers(self) -> int:
        """Workers without which it does not start."""
        return sum(item.min for item in self.sets)

    @property
    def wants_devices(self) -> bool:
        """Whether any of its workers takes a device or a share of one."""
        return any(item.shape.devices or item.shape.share for item in self.sets)

    def alike(self) -> Hashable:
        """Equal for two that wait for the same, and so wait for the same reason."""
        return (
            self.queue,
            self.priority,
            self.sets,
            self.flavours,
            self.limit,
            self.level,
            self.level_required,
        )
