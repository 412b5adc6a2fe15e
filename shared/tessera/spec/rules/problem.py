"""A rule that a spec breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tessera.api.controller.v1.spec_pb2 import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One rule that is broken: a stable reason, the field at fault and what to do."""

    reason: str
    field: str
    description: str


Rule = Callable[[JobSpec], Iterator[Problem]]


def listed(names: Iterable[str]) -> str:
    """Names in a row, for a message."""
    return ", ".join(names)
