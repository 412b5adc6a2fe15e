"""A version held in memory, planned for and read: what shards and readers do, without them."""

from __future__ import annotations

import numpy as np

from tessera.weights import strided
from tessera.weights.manifest import Manifest, SliceSpec, Version, VersionState
from tessera.weights.plan import Wanted, plan

VERSION = Version(
    set="default/w", number=1, state=VersionState.COMMITTED, epoch=1, job="j", attempt=1, step=1
)


def version(tensors, slices):
    """A manifest that nothing was planned for yet."""
    return Manifest(version=VERSION, tensors=tuple(tensors), slices=slices, assets={})


def store(tensor, data, boxes, views=(), shards=3):
    """Slices dense in their shards' pieces, as a push would leave them; no views: of the tensor."""
    pieces = {f"shard-{i}": bytearray(b"\xaa" * i) for i in range(shards)}
    slices = []
    for number, (box, view) in enumerate(zip(boxes, views or [None] * len(boxes), strict=True)):
        shard = f"shard-{number % shards}"
        packed = cut(data, tensor, box, view)
        if not packed:
            continue
        offset = len(pieces[shard])
        pieces[shard] += packed
        slices.append(
            SliceSpec(
                tensor=0,
                box=box,
                shard=shard,
                piece="p",
                offset=offset,
                size=len(packed),
                checksum=0,
                view=view,
            )
        )
    return slices, {name: np.frombuffer(bytes(b), np.uint8) for name, b in pieces.items()}


def carry_out(transfers, pieces, outs):
    """What shards and readers do with a plan; returns the bytes moved."""
    moved = 0
    for item in transfers:
        source = item.source
        data = pieces[source.shard][source.offset : source.offset + source.size]
        packed = strided.gather(data, source.box.extents, item.element_size, item.within)
        assert packed.size == item.size
        moved += item.size
        strided.scatter(packed, outs[item.want], item.extents, item.element_size, item.into)
    return moved


def cut(data, tensor, box, view=None):
    """A box of a tensor, by numpy's own indexing."""
    whole = data.reshape(*(tensor.shape if view is None else view), tensor.element_size)
    ranges = zip(box.offsets, box.extents, strict=True)
    return whole[tuple(slice(begin, begin + length) for begin, length in ranges)].tobytes()


def check_read(tensor, data, stored, wanted, view=None):
    """Every wanted byte comes exactly once, and is the right one."""
    slices, pieces = stored
    wants = [Wanted(0, box, view) for box in wanted]
    outs = [np.zeros(box.elements * tensor.element_size, np.uint8) for box in wanted]
    transfers = plan(version([tensor], slices), wants)
    assert len(list(transfers)) == len(transfers)
    # Exactly what is needed is moved, replicas or not; so what is right came once.
    assert carry_out(transfers, pieces, outs) == sum(out.size for out in outs)
    for box, out in zip(wanted, outs, strict=True):
        assert out.tobytes() == cut(data, tensor, box, view)
