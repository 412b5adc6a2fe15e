"""Blocks of dense buffers as numpy views, so that gathering and scattering copy once. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from tessera.weights.box import Box

Bytes = npt.NDArray[np.uint8]


def region(buffer: Bytes, extents: Sequence[int], element_size: int, box: Box) -> Bytes:
    """The block `box` of a row-major tensor that fills `buffer` (1-D); a view.

    The last axis of the result is the bytes of an element.
    """
    tensor = buffer.reshape((*extents, element_size))
    return tensor[box.slices]


def run(buffer: Bytes, extents: Sequence[int], element_size: int, box: Box) -> Bytes | None:
    """The block as one 1-D view; None if it is not one run of memory."""
    if not box.is_run_of(extents):
        return None
    start = box.first_of(extents) * element_size if box.elements else 0
    return buffer[start : start + box.elements * element_size]


def gather(buffer: Bytes, extents: Sequence[int], element_size: int, box: Box) -> Bytes:
    """The bytes of the block, row-major, 1-D: a view where it is one run, else a copy."""
    view = run(buffer, extents, element_size, box)
    if view is not None:
        return view
    return np.ascontiguousarray(region(buffer, extents, element_size, box)).reshape(-1)


def gather_from(span: Bytes, extents: Sequence[int], element_size: int, box: Box) -> Bytes:
    """The bytes of the block, row-major, 1-D, where `span` begins with its first element.

    `span` may hold any more of the tensor that follows, but need not hold all of it.
    """
    return np.ascontiguousarray(_seen(span, extents, element_size, box)).reshape(-1)


def gather_into(
    target: Bytes, span: Bytes, extents: Sequence[int], element_size: int, box: Box
) -> None:
    """The same as `gather_from`, into memory that is there."""
    seen = _seen(span, extents, element_size, box)
    target.reshape(seen.shape)[...] = seen


def _seen(span: Bytes, extents: Sequence[int], element_size: int, box: Box) -> Bytes:
    strides = [element_size]
    for extent in reversed(extents[1:]):
        strides.append(strides[-1] * extent)
    return as_strided(span, (*box.extents, element_size), (*reversed(strides), 1), writeable=False)


def scatter(
    packed: Bytes, buffer: Bytes, extents: Sequence[int], element_size: int, box: Box
) -> None:
    """Write row-major bytes into the block of a writable buffer."""
    target = region(buffer, extents, element_size, box)
    target[...] = packed.reshape((*box.extents, element_size))
