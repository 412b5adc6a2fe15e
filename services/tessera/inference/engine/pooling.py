"""Something to read in one step: what a head says of whole texts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera.inference.engine.sequence import Work

HeadOutput = NDArray[Any]
"""Of classes [C], of every token's classes [T, C], of start and end [T, 2], an embedding [width],
or log-probabilities of targets [K]; of hidden tokens the likeliest [K, top_k], as `CHOICE`."""

CHOICE = np.dtype([("token", np.int32), ("logprob", np.float32)])
"""A token that may stand somewhere, and its log-probability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingInput(Work[HeadOutput]):
    """What to read, and what is wanted of it.

    Args:
        head: that is asked.
        tokens: that the encoder reads, or the decoder where there is no encoder.
        segments: of the tokens; empty: 0.
        written: tokens of a decoder beside an encoder.
        places: where hidden or next tokens are wanted, for the heads that tell those.
        targets: next tokens at these places, whose log-probabilities are wanted.
        top_k: hidden tokens that are wanted of each place, the likeliest.
        unpooled: tokens at the beginning that do not count where a text is stood for.
    """

    head: str
    tokens: tuple[int, ...]
    segments: tuple[int, ...] = ()
    written: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    top_k: int = 1
    unpooled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingRequest:
    """A text on its way through the engine.

    Args:
        number: tells it from every other item; later ones are higher.
        group: number of the request that it is a part of.
        version: of the weights that read it.
        text: what to read.
        deadline: when it is given up.
        client: who asked for it.
        left: places that are left to look at, of a text that has been read in part.
    """

    number: int
    group: int
    version: int
    text: PoolingInput
    deadline: float | None = None
    client: str = ""
    left: int | None = None

    @property
    def places(self) -> int:
        """At which a whole vocabulary has to be weighed."""
        return len(self.text.places) if self.left is None else self.left

    @property
    def cost(self) -> int:
        """Tokens to compute; a place counts as one more."""
        unread = len(self.text.tokens) + len(self.text.written) if self.left is None else 0
        return unread + self.places
