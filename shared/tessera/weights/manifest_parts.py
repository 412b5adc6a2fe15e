"""Manifests as they travel: in parts that are messages of bounded size, however many slices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from google.protobuf.message import Message

from tessera.api.parameters.v1 import manifest_pb2 as pb

PART_BYTES = 2 * 1024 * 1024


Holders = Mapping[str, Sequence[str]]
"""Shards by piece, the one that is asked first before the others."""


def cut(
    version: pb.Version, content: bytes, groups: Collection[str], holders: Holders
) -> Iterator[pb.Manifest]:
    """The parts of what is kept of a version: the first one has the version, a small one all.

    Slices count in the tensors that are left. Of an asset that is longer than a part, several parts
    have a piece each, one after another.

    Args:
        version: that it is of.
        content: a manifest, encoded.
        groups: whose tensors and slices are wanted.
        holders: of the pieces; of one that is not there, what the slices name.
    """
    part, size = pb.Manifest(version=version), version.ByteSize()
    for field, item in _selected(pb.Manifest.FromString(content), groups, holders):
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


def _selected(
    whole: pb.Manifest, groups: Collection[str], holders: Holders
) -> Iterator[tuple[str, Message]]:
    wanted, pieces = set(groups), set()
    places: dict[int, int] = {}
    for index, tensor in enumerate(whole.tensors):
        if tensor.group in wanted:
            places[index] = len(places)
            yield "tensors", tensor
    for source in whole.slices:
        if source.tensor in places:
            source.tensor = places[source.tensor]
            if found := holders.get(source.piece):
                source.shard = found[0]
                pieces.add(source.piece)
            yield "slices", source
    for name in sorted(pieces):
        for shard in holders[name][1:]:
            yield "copies", pb.PieceCopy(piece=name, shard=shard)
    for asset in whole.assets:
        for start in range(0, max(1, len(asset.content)), PART_BYTES):
            piece = asset.content[start : start + PART_BYTES]
            yield "assets", pb.Asset(name=asset.name, content=piece)
