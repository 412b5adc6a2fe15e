"""Between the protobuf messages of the parameter service and the types of `manifest`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from google.protobuf import timestamp_pb2

from tessera import errors
from tessera.api.parameters.v1 import coordinator_pb2 as control
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.weights.blocks import BLOCK_BYTES
from tessera.weights.box import Box
from tessera.weights.manifest import (
    HeadMove,
    Manifest,
    ParameterSet,
    ShardAddress,
    ShardDamage,
    ShardStatus,
    SliceSpec,
    TensorSpec,
    Verification,
    Version,
    VersionState,
)
from tessera.weights.slice_table import SliceTable
from tessera.weights.table_messages import table_from_pb
from tessera.weights.tensor_list import TensorList
from tessera.weights.view_messages import view_from_pb, view_to_pb

_STATES = {
    VersionState.OPEN: pb.VERSION_STATE_OPEN,
    VersionState.SEALED: pb.VERSION_STATE_SEALED,
    VersionState.COMMITTED: pb.VERSION_STATE_COMMITTED,
    VersionState.ABORTED: pb.VERSION_STATE_ABORTED,
}
_FROM_STATES = {number: state for state, number in _STATES.items()}


def box_to_pb(box: Box) -> pb.Box:
    """A box as a message."""
    return pb.Box(offsets=box.offsets, extents=box.extents)


def box_from_pb(message: pb.Box) -> Box:
    """A box from a message.

    Raises:
        InvalidArgumentError: it is no box (reason INVALID_BOX).
    """
    try:
        return Box(tuple(message.offsets), tuple(message.extents))
    except ValueError as error:
        raise errors.InvalidArgumentError(
            f"box: {error}", reason="INVALID_BOX", violations=[errors.Violation("box", str(error))]
        ) from None


def tensor_from_pb(message: pb.Tensor) -> TensorSpec:
    """A tensor from a message."""
    # By way of a list, which is made at once: there are thousands.
    shape = tuple(message.shape[:])
    return TensorSpec(group=message.group, name=message.name, shape=shape, dtype=message.dtype)


def tensors_to_pb(tensors: Sequence[TensorSpec]) -> Sequence[pb.Tensor]:
    """Tensors as messages; those that came as such are not made again."""
    if isinstance(tensors, TensorList):
        return tensors.messages
    # In one message, which takes memory for all of them at once.
    held = pb.Manifest().tensors
    add_tensors(held, tensors)
    return held


def add_tensors(held: Any, tensors: Sequence[TensorSpec]) -> None:
    """Add tensors to a message's list of them, made in place: setting the field copies each."""
    if isinstance(tensors, TensorList):
        held.extend(tensors.messages)
        return
    for tensor in tensors:
        held.add(group=tensor.group, name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)


def tensors_from_pb(messages: Sequence[pb.Tensor]) -> TensorList:
    """Tensors from messages, which must not change."""
    return TensorList(messages, tensor_from_pb)


def slice_to_pb(source: SliceSpec) -> pb.Slice:
    """A slice as a message."""
    return pb.Slice(
        tensor=source.tensor,
        box=box_to_pb(source.box),
        shard=source.shard,
        piece=source.piece,
        offset=source.offset,
        size=source.size,
        checksum=source.checksum,
        blocks=source.blocks,
        block_bytes=source.block_bytes,
        view=view_to_pb(source.view),
    )


def slice_from_pb(message: pb.Slice) -> SliceSpec:
    """A slice from a message.

    Raises:
        InvalidArgumentError: its box is none (INVALID_BOX), or its view none (INVALID_VIEW).
    """
    return SliceSpec(
        tensor=message.tensor,
        box=box_from_pb(message.box),
        shard=message.shard,
        piece=message.piece,
        offset=message.offset,
        size=message.size,
        checksum=message.checksum,
        blocks=tuple(message.blocks),
        block_bytes=message.block_bytes or BLOCK_BYTES,
        view=view_from_pb(message.view) if message.HasField("view") else None,
    )


class Listed(Protocol):
    """A message that lists slices one by one, by tables, or both."""

    @property
    def slices(self) -> Iterable[pb.Slice]:
        """One by one."""

    @property
    def tables(self) -> Iterable[pb.SliceTable]:
        """The others."""


def slices_from_pb(message: Listed) -> SliceTable:
    """The slices that a message lists.

    Raises:
        InvalidArgumentError: a box is none (INVALID_BOX), a view (INVALID_VIEW), or a table
            (INVALID_TABLE).
    """
    single = [slice_from_pb(one) for one in message.slices]
    parts: list[Sequence[SliceSpec]] = [table_from_pb(table) for table in message.tables]
    return SliceTable.join([single, *parts] if single or not parts else parts)


def assets_to_pb(assets: Mapping[str, bytes]) -> list[pb.Asset]:
    """Assets as messages."""
    return [pb.Asset(name=name, content=content) for name, content in assets.items()]


def assets_from_pb(messages: Iterable[pb.Asset]) -> dict[str, bytes]:
    """Assets from messages."""
    return {asset.name: asset.content for asset in messages}


def version_to_pb(version: Version) -> pb.Version:
    """A version as a message."""
    return pb.Version(
        set=version.set,
        number=version.number,
        state=_STATES[version.state],
        epoch=version.epoch,
        job=version.job,
        attempt=version.attempt,
        step=version.step,
        commit_time=_time_to_pb(version.commit_time) if version.commit_time else None,
        groups=version.groups,
        size=version.size,
        labels=version.labels,
        damaged_groups=version.damaged_groups,
    )


def _time_to_pb(seconds: float) -> timestamp_pb2.Timestamp:
    time = timestamp_pb2.Timestamp()
    time.FromNanoseconds(int(seconds * 1e9))
    return time


def version_from_pb(message: pb.Version) -> Version:
    """A version from a message."""
    return Version(
        set=message.set,
        number=message.number,
        state=_FROM_STATES[message.state],
        epoch=message.epoch,
        job=message.job,
        attempt=message.attempt,
        step=message.step,
        commit_time=message.commit_time.ToNanoseconds() / 1e9,
        groups=tuple(message.groups),
        size=message.size,
        labels=dict(message.labels),
        damaged_groups=tuple(message.damaged_groups),
    )


def verification_from_pb(message: control.VerifyVersionResponse) -> Verification:
    """Progress of a verification from a message."""
    return Verification(
        version=message.version,
        verified=message.verified,
        size=message.size,
        damage=tuple(
            ShardDamage(shard=m.shard, group=m.group, reason=m.reason, text=m.text)
            for m in message.damage
        ),
    )


def set_from_pb(message: control.ParameterSet) -> ParameterSet:
    """A set from a message."""
    return ParameterSet(
        name=message.name,
        head=version_from_pb(message.head) if message.HasField("head") else None,
        versions=message.versions,
        size=message.size,
        damaged_versions=message.damaged_versions,
    )


def head_move_to_pb(move: HeadMove) -> pb.HeadMove:
    """A move of a head as a message."""
    return pb.HeadMove(
        sequence=move.sequence,
        version=move.version,
        time=_time_to_pb(move.time),
        mover=move.mover,
        rollback=move.rollback,
    )


def head_move_from_pb(message: pb.HeadMove) -> HeadMove:
    """A move of a head from a message."""
    return HeadMove(
        sequence=message.sequence,
        version=message.version,
        time=message.time.ToNanoseconds() / 1e9,
        mover=message.mover,
        rollback=message.rollback,
    )


def set_to_pb(found: ParameterSet) -> control.ParameterSet:
    """A set as a message."""
    return control.ParameterSet(
        name=found.name,
        head=version_to_pb(found.head) if found.head else None,
        versions=found.versions,
        size=found.size,
        damaged_versions=found.damaged_versions,
    )


def shard_status_from_pb(message: control.Shard) -> ShardStatus:
    """A shard and what it holds from a message."""
    return ShardStatus(
        name=message.name,
        available=message.available,
        draining=message.draining,
        pieces=message.pieces,
        needed_pieces=message.needed_pieces,
        size=message.size,
        data_address=message.data_address,
    )


def shards_from_pb(messages: Iterable[pb.ShardTarget]) -> tuple[ShardAddress, ...]:
    """Shards from messages."""
    return tuple(ShardAddress(name=m.name, data_address=m.data_address) for m in messages)


def shards_to_pb(shards: Iterable[ShardAddress]) -> list[pb.ShardTarget]:
    """Shards as messages."""
    return [pb.ShardTarget(name=s.name, data_address=s.data_address) for s in shards]


def manifest_to_pb(manifest: Manifest) -> pb.Manifest:
    """A manifest as a message; the shards' addresses travel beside it."""
    return pb.Manifest(
        version=version_to_pb(manifest.version),
        tensors=tensors_to_pb(manifest.tensors),
        slices=[slice_to_pb(source) for source in manifest.slices],
        assets=assets_to_pb(manifest.assets),
    )


def manifest_from_pb(
    message: pb.Manifest, shards: tuple[ShardAddress, ...] = (), controller: str = ""
) -> Manifest:
    """A manifest from a message and what travelled beside it."""
    return Manifest(
        version=version_from_pb(message.version),
        tensors=tensors_from_pb(message.tensors),
        slices=slices_from_pb(message),
        assets=assets_from_pb(message.assets),
        copies=_copies_from_pb(message.copies),
        shards=shards,
        controller=controller,
        # Both came with the same version of the platform.
        runs=bool(message.tables),
    )


def _copies_from_pb(messages: Iterable[pb.PieceCopy]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for message in messages:
        found[message.piece] = (*found.get(message.piece, ()), message.shard)
    return found
