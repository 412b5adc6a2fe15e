"""Which versions, or groups of versions, may be forgotten. Pure.

1. Every set keeps its newest `keep` versions whole.
2. Where a tenant needs room, first `optimizer` and `state` of its versions that are not their
   set's newest go, oldest first; then whole versions, oldest first.
The newest version of a set, its head and pinned versions are never touched, nor anything for the
sake of another tenant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

DEFAULT_KEEP = 3
"""Whole versions that a set keeps if nobody says otherwise."""

RESUME_GROUPS = ("optimizer", "state")
"""Groups that only a resume reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A committed version: `groups` maps those that it holds to their bytes.

    `pinned`: somebody reads it, or may at any time.
    """

    set: str
    number: int
    commit_time: float
    pinned: bool
    groups: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return sum(self.groups.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Forget these groups of a version; with `whole`, all of it."""

    set: str
    number: int
    groups: tuple[str, ...]
    whole: bool


def outdated(versions: Iterable[Held], keep: Mapping[str, int]) -> list[Drop]:
    """What may go because a set has newer versions than it keeps.

    Args:
        versions: every committed version of every set.
        keep: whole versions to keep, by set.
    """
    return [
        _whole(version)
        for name, held in _newest_first(versions).items()
        for version in held[max(1, keep[name]) :]
        if not version.pinned
    ]


def shrink(versions: Iterable[Held], excess: int) -> list[Drop]:
    """What to drop of these versions to free `excess` bytes, or as much as may go.

    Args:
        versions: every committed version of the sets of one tenant.
        excess: bytes; not positive: nothing has to go.
    """
    droppable = [
        version
        for held in _newest_first(versions).values()
        for version in held[1:]
        if not version.pinned
    ]
    return _shrink(droppable, excess)


def freed(versions: Iterable[Held], drops: Iterable[Drop]) -> int:
    """Bytes that versions would hold less."""
    held = {(version.set, version.number): version for version in versions}
    found = 0
    for drop in drops:
        version = held[drop.set, drop.number]
        found += version.size if drop.whole else sum(version.groups[g] for g in drop.groups)
    return found


def total_bytes(versions: Iterable[Held]) -> int:
    """Bytes that versions hold."""
    return sum(version.size for version in versions)


def footprint(versions: Sequence[Held], reserved: int) -> int:
    """Bytes that a tenant is entitled to: what it holds, or must hold when it has written.

    Args:
        versions: all that it holds.
        reserved: bytes that its open versions were declared to take.
    """
    return max(total_bytes(versions), protected_bytes(versions) + reserved)


def protected_bytes(versions: Sequence[Held]) -> int:
    """Bytes that no drop can free: every set's newest version, and what is pinned."""
    newest: dict[str, int] = {}
    for version in versions:
        newest[version.set] = max(version.number, newest.get(version.set, 0))
    return sum(v.size for v in versions if v.pinned or v.number == newest[v.set])


def _newest_first(versions: Iterable[Held]) -> dict[str, list[Held]]:
    by_set: dict[str, list[Held]] = defaultdict(list)
    for version in sorted(versions, key=lambda version: -version.number):
        by_set[version.set].append(version)
    return by_set


def _shrink(droppable: list[Held], excess: int) -> list[Drop]:
    droppable.sort(key=lambda version: (version.commit_time, version.set, version.number))
    partial: dict[tuple[str, int], Drop] = {}
    slimmed: list[Held] = []
    for version in droppable:
        groups = tuple(group for group in RESUME_GROUPS if group in version.groups)
        if excess <= 0 or not groups:
            slimmed.append(version)
            continue
        excess -= sum(version.groups[group] for group in groups)
        left = {name: size for name, size in version.groups.items() if name not in groups}
        slimmed.append(replace(version, groups=left))
        partial[version.set, version.number] = Drop(
            set=version.set, number=version.number, groups=groups, whole=not left
        )
    for version in slimmed:
        if excess <= 0:
            break
        excess -= version.size
        partial[version.set, version.number] = _whole(version)
    return list(partial.values())


def _whole(version: Held) -> Drop:
    return Drop(set=version.set, number=version.number, groups=(), whole=True)
