"""What a pass decides. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerAssignment:
    """Where one worker goes.

    Args:
        set: name of its set.
        index: its number within it.
        node: the node; empty: its group has to grow first.
        group: the node group that makes the node; empty: the node is here.
        pending: stands for the node until it is here.
        devices: their numbers on the node.
    """

    set: str
    index: int
    node: str = ""
    group: str = ""
    pending: str = ""
    devices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Work starts, with all of its workers; `flavour` is of their devices."""

    workload: str
    flavour: str
    workers: tuple[WorkerAssignment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """Work is asked to write a checkpoint and go, by a deadline, for other work."""

    workload: str
    victim: str
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReservation:
    """Room that is set aside for work that waits.

    `starts` is when it is free at the latest; None: what holds it has no time limit.
    """

    workload: str
    starts: float | None
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """All that a pass decided; `waiting` are the classes it left, by the first of each."""

    admissions: tuple[Admission, ...] = ()
    preemptions: tuple[Preemption, ...] = ()
    reservations: tuple[NodeReservation, ...] = ()
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why work waits.

    Args:
        code: stable name.
        message: a sentence with the figures.
        about: what a machine would ask: names and amounts.
    """

    code: str
    message: str
    about: Mapping[str, str] = field(default_factory=dict)
