"""What shards say that they hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tessera.parameters.damage import Damage
from tessera.parameters.version_record import VersionRecord
from tessera.weights.manifest import HeadMove, SliceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldVersion:
    """What a shard holds of a version; `recorded`: it has the manifest, so it was committed.

    `pieces` are those that its indices name, where that was asked for.
    """

    recorded: bool
    pieces: frozenset[str] = frozenset()
    damage: tuple[Damage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSet:
    """What a shard holds of a set.

    Attributes:
        epoch: the highest that it has seen since it started.
        number: the highest of a version that it has ever seen.
        versions: by number.
        head: the last rollback.
    """

    epoch: int = 0
    number: int = 0
    head: HeadMove | None = None
    versions: Mapping[int, HeldVersion] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a shard holds: whose store it is of (empty: nobody's yet), and sets by name."""

    store: str
    sets: Mapping[str, HeldSet]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRecord:
    """What a shard knows of one version; `dropped`: it was told to forget it."""

    shard: str
    record: VersionRecord | None
    slices: tuple[SliceSpec, ...]
    dropped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How far shards are with reading a version: bytes done and in all, and damage by shard."""

    done: int
    size: int
    damage: Mapping[str, tuple[Damage, ...]]

    @staticmethod
    def together(parts: Iterable[Verified]) -> Verified:
        """What several shards have done."""
        found = list(parts)
        return Verified(
            done=sum(part.done for part in found),
            size=sum(part.size for part in found),
            damage={shard: what for part in found for shard, what in part.damage.items()},
        )
