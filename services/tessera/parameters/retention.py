"""Which versions, or groups of versions, may be forgotten. Pure.

1. Every set keeps its newest `keep` versions whole.
2. While the total is over the disk cap, first `optimizer` and `state` of versions that are not
   their set's newest go, oldest first; then whole versions, oldest first.
The newest version of a set and pinned versions are never touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

RESUME_GROUPS = ("optimizer", "state")
"""Groups that only a resume reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A committed version: `groups` maps those that it holds to their bytes."""

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


def retain(
    versions: Iterable[Held], keep: Mapping[str, int], cap: int | None, needed: int = 0
) -> list[Drop]:
    """What to drop so that each set keeps `keep` and all is within `cap` with `needed` to come.

    Args:
        versions: every committed version of every set.
        keep: whole versions to keep, by set.
        cap: bytes; None: there is no cap.
        needed: bytes that are about to be written.
    """
    by_set: dict[str, list[Held]] = defaultdict(list)
    for version in versions:
        by_set[version.set].append(version)
    drops: list[Drop] = []
    rest: list[Held] = []
    total = needed
    for name, held in by_set.items():
        held.sort(key=lambda version: -version.number)
        for position, version in enumerate(held):
            if position >= keep[name] and position > 0 and not version.pinned:
                drops.append(_whole(version))
                continue
            total += version.size
            if position > 0 and not version.pinned:
                rest.append(version)
    if cap is not None:
        drops += _shrink(rest, total - cap)
    return drops


def protected_bytes(versions: Sequence[Held]) -> int:
    """Bytes that no drop can free: every set's newest version, and what is pinned."""
    newest: dict[str, int] = {}
    for version in versions:
        newest[version.set] = max(version.number, newest.get(version.set, 0))
    return sum(v.size for v in versions if v.pinned or v.number == newest[v.set])


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
