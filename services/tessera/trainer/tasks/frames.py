"""How a model sees texts: between the tokens that begin and end them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tessera.text.tokenizer import Tokenizer

Ids = NDArray[np.int64]

ONE, PAIR = 2, 3
"""Special tokens around one text, and around two."""


def framed(ids: Sequence[int] | Ids, tokenizer: Tokenizer, longest: int = 0) -> Ids:
    """Start, text, end; the text is cut to what fits.

    Args:
        ids: of the text.
        tokenizer: has the special tokens.
        longest: tokens of the result at most; 0: any number.
    """
    kept = ids[: longest - ONE] if longest else ids
    return np.array([tokenizer.start_id, *kept, tokenizer.end_id], dtype=np.int64)


def framed_pair(
    first: Sequence[int], second: Sequence[int], tokenizer: Tokenizer, longest: int
) -> tuple[Ids, int]:
    """Start, first text, end, second text, end; the longer one is cut to what fits.

    Returns:
        The tokens, and the place at which the second segment begins.
    """
    room = longest - PAIR
    left = max(room - len(second), room // 2)
    right = max(room - len(first), room - room // 2)
    first, second = first[:left], second[:right]
    end = tokenizer.end_id
    tokens = np.array([tokenizer.start_id, *first, end, *second, end], dtype=np.int64)
    return tokens, len(first) + 2
