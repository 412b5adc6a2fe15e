"""Texts cut to what fits between the tokens that begin and end them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tessera.text.frame import Frame

Ids = NDArray[np.int64]

ONE, PAIR = 2, 3
"""Special tokens around one text, and around two, as a rule."""


def framed(ids: Sequence[int] | Ids, frame: Frame, longest: int = 0) -> Ids:
    """A text as a model reads it, cut to what fits.

    Args:
        ids: of the text.
        frame: goes around it.
        longest: tokens of the result at most; 0: any number.
    """
    kept = ids[: max(longest - frame.one, 0)] if longest else ids
    return np.array(frame.around(kept), dtype=np.int64)  # type: ignore[arg-type]


def framed_pair(
    first: Sequence[int], second: Sequence[int], frame: Frame, longest: int
) -> tuple[Ids, int]:
    """Two texts as a model reads them; the longer one is cut to what fits.

    Returns:
        The tokens, and the place at which the second segment begins.
    """
    room = max(longest - frame.pair, 0)
    left = max(room - len(second), room // 2)
    right = max(room - len(first), room - room // 2)
    tokens, place = frame.around_pair(first[:left], second[:right])
    return np.array(tokens, dtype=np.int64), place
