"""Manifests as they travel: in parts that are messages of bounded size, however many slices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from google.protobuf.message import Message

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.weights import messages
from tessera.weights.box_tree import Numbers
from tessera.weights.slice_table import SliceTable
from tessera.weights.table_messages import table_from_pb, table_to_pb

PART_BYTES = 2 * 1024 * 1024
_VARINT, _FIXED = 10, 8


Holders = Mapping[str, Sequence[str]]
"""Shards by piece, the one that is asked first before the others."""


def cut(
    version: pb.Version,
    content: bytes,
    groups: Collection[str],
    holders: Holders,
    *,
    tables: bool = True,
    views: bool = True,
) -> Iterator[pb.Manifest]:
    """The parts of what is kept of a version: the first one has the version, a small one all.

    Slices count in the tensors that are left. Of an asset that is longer than a part, several parts
    have a piece each, one after another.

    Args:
        version: that it is of.
        content: a manifest, encoded.
        groups: whose tensors and slices are wanted.
        holders: of the pieces; of one that is not there, what the slices name.
        tables: whether slices that are kept so may go as tables; else one by one.
        views: whether slices may be boxes of views; a reader that does not know would misread them.

    Raises:
        FailedPreconditionError: they may not, and some are (VIEWS_UNKNOWN).
    """
    whole = pb.Manifest.FromString(content)
    if not views and _has_views(whole):
        raise errors.FailedPreconditionError(
            f"slices of {version.set}@{version.number} are boxes of views, which this reader does"
            " not know; read it with a newer one",
            reason="VIEWS_UNKNOWN",
        )
    _name(whole, holders)
    if len(content) < PART_BYTES and (tables or not whole.tables) and _all_of(whole, groups):
        whole.version.CopyFrom(version)
        yield whole
        return
    part, size = pb.Manifest(version=version), version.ByteSize()
    for field, item in _selected(whole, groups, tables=tables):
        grown = item.ByteSize()
        if size and size + grown > PART_BYTES:
            yield part
            part, size = pb.Manifest(), 0
        getattr(part, field).append(item)
        size += grown
    yield part


def join(parts: Iterable[pb.Manifest]) -> pb.Manifest:
    """What was cut."""
    whole = pb.Manifest()
    assets: dict[str, list[bytes]] = {}
    for part in parts:
        for asset in part.assets:
            assets.setdefault(asset.name, []).append(asset.content)
        del part.assets[:]
        whole.MergeFrom(part)
    whole.assets.extend(
        pb.Asset(name=name, content=b"".join(pieces)) for name, pieces in assets.items()
    )
    return whole


def _has_views(whole: pb.Manifest) -> bool:
    return any(table.views for table in whole.tables) or any(
        source.HasField("view") for source in whole.slices
    )


def _name(whole: pb.Manifest, holders: Holders) -> None:
    """Let slices name the shard that is asked first, and copies the others."""
    named: list[pb.Slice | pb.SlicePlace] = [*whole.slices]
    named += [place for table in whole.tables for place in table.places]
    for place in named:
        place.shard = holders.get(place.piece, (place.shard,))[0]
    whole.copies.extend(
        pb.PieceCopy(piece=piece, shard=shard)
        for piece, shards in holders.items()
        for shard in shards[1:]
    )


def _all_of(whole: pb.Manifest, groups: Collection[str]) -> bool:
    wanted = {*groups}
    return all(tensor.group in wanted for tensor in whole.tensors)


def _selected(
    whole: pb.Manifest, groups: Collection[str], *, tables: bool
) -> Iterator[tuple[str, Message]]:
    wanted = set(groups)
    places: dict[int, int] = {}
    for index, tensor in enumerate(whole.tensors):
        if tensor.group in wanted:
            places[index] = len(places)
            yield "tensors", tensor
    for source in whole.slices:
        if source.tensor in places:
            source.tensor = places[source.tensor]
            yield "slices", source
    yield from (("copies", copy) for copy in whole.copies)
    for message in whole.tables:
        table = _of(table_from_pb(message), places, len(whole.tensors))
        if tables:
            yield from (("tables", table_to_pb(part)) for part in _split(table))
        else:
            yield from (("slices", messages.slice_to_pb(source)) for source in table)
    for asset in whole.assets:
        for start in range(0, max(1, len(asset.content)), PART_BYTES):
            piece = asset.content[start : start + PART_BYTES]
            yield "assets", pb.Asset(name=asset.name, content=piece)


def _of(table: SliceTable, places: Mapping[int, int], tensors: int) -> SliceTable:
    """The slices of the tensors that are left, which are counted anew."""
    if len(places) == tensors:
        return table
    moved = np.full(tensors, -1, np.int64)
    moved[list(places)] = list(places.values())
    rows = np.flatnonzero(moved[table.tensors] >= 0)
    return table.take(rows, moved[table.tensors[rows]])


def _split(table: SliceTable) -> Iterator[SliceTable]:
    """Tables that are no larger than a part, but where one slice is."""
    ends = np.cumsum(_most_bytes(table))
    begin = 0
    while begin < len(table):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + PART_BYTES, side="right")))
        yield table if end - begin == len(table) else table.take(np.arange(begin, end))
        begin = end


def _most_bytes(table: SliceTable) -> Numbers:
    """Of every slice in a message, at most; with its place, which others may share."""
    columns = table.columns
    places = [_VARINT + 4 + len(shard) + len(piece) for shard, piece in columns.places]
    named: Numbers = np.array(places, np.int64)[columns.place] if len(table) else columns.place
    numbers = 6 + 2 * columns.boxes.axes
    if columns.views:
        numbers += 2 + columns.views.axes(np.zeros_like(numbers))
    return named + _VARINT * numbers + _FIXED * (1 + columns.block_counts)
