"""What a version of a set is: tensors, slices, assets, and who wrote it. Pure."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tessera.dtypes import element_size
from tessera.weights.blocks import BLOCK_BYTES
from tessera.weights.box import Box
from tessera.weights.record import record
from tessera.weights.reshape import View
from tessera.weights.slice_index import SliceIndex, columns_of


class VersionState(enum.Enum):
    """Where a version stands."""

    OPEN = "open"
    SEALED = "sealed"
    COMMITTED = "committed"
    ABORTED = "aborted"


@record
class TensorSpec:
    """One named tensor; `dtype` in safetensors' spelling (F32, BF16, U8 …)."""

    group: str
    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def element_size(self) -> int:
        """Bytes of one element."""
        return element_size(self.dtype)

    @property
    def size(self) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shape) * self.element_size

    @property
    def box(self) -> Box:
        """All of the tensor."""
        return Box.whole(self.shape)


@record
class SliceSpec:
    """A box of a tensor as one shard keeps it: dense and row-major from `offset` of a piece.

    `tensor` is the index of the tensor in the list beside it, `size` is in bytes, `checksum` is
    the xxh3-64 of the bytes, `blocks` those of its blocks, each of `block_bytes`, the last one
    shorter. `view`: the box is one of the tensor's elements in this shape; None: in its own.
    """

    tensor: int
    box: Box
    shard: str
    piece: str
    offset: int
    size: int
    checksum: int
    blocks: tuple[int, ...] = ()
    block_bytes: int = BLOCK_BYTES
    view: View = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardAddress:
    """A shard and where its bulk data was served when this was made."""

    name: str
    data_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatus:
    """A shard and what it holds.

    Attributes:
        name: of it.
        available: whether it is there now.
        draining: whether it takes nothing new.
        pieces: of versions, that it holds.
        needed_pieces: those that no shard has, undamaged, that is not drained.
        size: bytes of its pieces.
        data_address: host:port; empty while it is away.
    """

    name: str
    available: bool
    draining: bool
    pieces: int
    needed_pieces: int
    size: int
    data_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a set. `commit_time` in seconds since the epoch; 0 if not committed.

    Of `damaged_groups` a shard has lost something, or has it damaged.
    """

    set: str
    number: int
    state: VersionState
    epoch: int
    job: str
    attempt: int
    step: int
    commit_time: float = 0.0
    groups: tuple[str, ...] = ()
    size: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    damaged_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDamage:
    """What is wrong with a file of a version on a shard; an empty group: it may be any."""

    shard: str
    group: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How far shards are with reading a version, in bytes, and what they found damaged so far."""

    version: int
    verified: int
    size: int
    damage: tuple[ShardDamage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSet:
    """A named line of versions; `size` in bytes on disk, `head` is what readers get by its name."""

    name: str
    head: Version | None
    versions: int
    size: int
    damaged_versions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMove:
    """A move of a set's head: by a commit, or back to a version that was there before.

    Attributes:
        sequence: of the move: grows, whichever way the head goes.
        version: that the head is since then.
        time: seconds since the epoch.
        mover: who did it: subject of a token, or job and attempt.
        rollback: whether it was one.
    """

    sequence: int
    version: int
    time: float
    mover: str
    rollback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The right to write a set; `resume` is the newest whole version that the job committed."""

    set: str
    epoch: int
    resume: Version | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedVersion:
    """A version that takes slices. It can be pickled and sent to other ranks.

    `grant` is the coordinator's word to the shards that they may be pushed, `tables` says that they
    take headers as tables, and `views` that slices may be boxes of views.
    """

    set: str
    number: int
    epoch: int
    tensors: tuple[TensorSpec, ...]
    shards: tuple[ShardAddress, ...]
    controller: str
    grant: str
    tables: bool = False
    views: bool = False


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All about a committed version; `slices[i].tensor` counts in `tensors`.

    Slices name the shard that is asked for them first; `copies` are further shards by piece.
    `runs`: its shards know how to send whole slices by their places alone.
    """

    version: Version
    tensors: Sequence[TensorSpec]
    slices: Sequence[SliceSpec]
    assets: Mapping[str, bytes]
    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shards: tuple[ShardAddress, ...] = ()
    controller: str = ""
    runs: bool = False

    def holders(self, shard: str, piece: str) -> tuple[str, ...]:
        """Shards that have a piece that slices say is on `shard`, in the order of asking."""
        return (shard, *self.copies.get(piece, ()))

    def index(self, group: str, name: str) -> int:
        """Index of a tensor.

        Raises:
            KeyError: there is none of that name in that group.
        """
        found = self._positions.get(group, {}).get(name)
        if found is None:
            text = f"{self.version.set}@{self.version.number} has no {group} tensor {name!r}"
            raise KeyError(text)
        return found

    @cached_property
    def _positions(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for at, tensor in enumerate(self.tensors):
            found.setdefault(tensor.group, {})[tensor.name] = at
        return found

    @cached_property
    def slice_index(self) -> SliceIndex:
        """The slices by tensor, for all that is read of the version."""
        shapes = [tensor.shape for tensor in self.tensors]
        return SliceIndex(shapes, *columns_of(self.slices))

    def group(self, group: str) -> dict[str, TensorSpec]:
        """The tensors of a group by name, in order."""
        return {tensor.name: tensor for tensor in self.tensors if tensor.group == group}
