"""What a writer says at the seal of all that it pushed: one number, which no order changes. Pure.

Ranks push apart, and shards keep the slices in orders of their own; the digest of several ranks is
the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import xxhash

from tessera.weights.box_columns import BoxColumns
from tessera.weights.box_tree import Numbers
from tessera.weights.view_column import ViewColumn

_Words = npt.NDArray[np.uint64]

_WORD = 1 << 64


def push_digest(
    tensors: Numbers, boxes: BoxColumns, views: ViewColumn, checksums: npt.NDArray[np.uint64]
) -> int:
    """The digest of slices.

    Args:
        tensors: the index of each one's tensor.
        boxes: the box of each.
        views: what each box is one of.
        checksums: xxh3-64 of the bytes of each.

    Returns:
        The sum, modulo 2^64, of a hash of each slice.
    """
    found = _mixed(_mixed(checksums) + tensors.astype(np.uint64))
    axes, starts = boxes.axes, boxes.starts[:-1]
    for axis in range(int(axes.max(initial=0))):
        (rows,) = np.nonzero(axes > axis)
        for column in (boxes.offsets, boxes.extents):
            found[rows] = _mixed(found[rows] + column[starts[rows] + axis].astype(np.uint64))
    if views:
        texts = [b"", *(str(list(shape)).encode() for shape in views.shapes)]
        words = np.array([xxhash.xxh3_64_intdigest(text) for text in texts], np.uint64)
        (rows,) = np.nonzero(views.numbers)
        found[rows] = _mixed(found[rows] + words[views.numbers[rows]])
    return int(found.sum(dtype=np.uint64))


def sum_of(digests: Iterable[int]) -> int:
    """The digest of what several ranks pushed."""
    return sum(digests) % _WORD


def _mixed(words: _Words) -> _Words:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014), after its increment."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
