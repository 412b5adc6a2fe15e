"""Small slices that follow one another in a piece, so that many of them are read at once. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tessera.weights.box_tree import Numbers

Flags = npt.NDArray[np.bool_]

RUN_BYTES = 1024 * 1024
"""How much of small slices is read at once, but for the rest of the last one."""

RUN_SLICES = 1024
"""Of a run: as many buffers as the system reads into at once."""


def runs(offsets: Numbers, sizes: Numbers, small: Flags) -> Iterator[tuple[int, int]]:
    """Of slices of a piece, the number of the first one of each run, and the one past its last.

    A run is of small ones that follow one another; every other slice is alone.

    Args:
        offsets: where each begins in the piece, in the order of asking.
        sizes: bytes of each.
        small: whether each is.
    """
    numbers = np.arange(len(offsets))
    fresh = np.ones(len(offsets), np.bool_)
    fresh[1:] = ~small[1:] | ~small[:-1] | (offsets[1:] != (offsets + sizes)[:-1])
    # What is too long is cut by where slices begin in it, without a look at one after another.
    first = np.maximum.accumulate(np.where(fresh, numbers, 0))
    for cell in ((offsets - offsets[first]) // RUN_BYTES, (numbers - first) // RUN_SLICES):
        fresh[1:] |= cell[1:] != cell[:-1]
    return pairwise([*np.flatnonzero(fresh).tolist(), len(offsets)])
