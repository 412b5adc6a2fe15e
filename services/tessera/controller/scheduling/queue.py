"""A queue and its quota. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Where work waits, or a branch that other queues hang on.

    Quotas are by resource: `cpu`, `memory` or the flavour of a device. A resource that no queue of
    a tree names is not limited in that tree.

    Args:
        name: unique.
        parent: the branch that it hangs on; empty: it is a root.
        nominal: what is its own.
        borrowing: how much beyond its own it may use while others of its tree do not; a resource
            that is left out: as much as there is.
        lending: how much of its own others may use meanwhile; left out: all.
        weight: its share beside its sisters.
    """

    name: str
    parent: str = ""
    nominal: Mapping[str, int] = field(default_factory=dict)
    borrowing: Mapping[str, int] = field(default_factory=dict)
    lending: Mapping[str, int] = field(default_factory=dict)
    weight: float = 1.0
