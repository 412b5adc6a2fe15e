"""Hidden states: what a trunk hands to the heads. Importing it loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class States(NamedTuple):
    """Hidden states.

    Args:
        read: [B, T, width], what heads see that tell something of a text.
        written: [B, U, width], what the head sees that writes; None: nothing is written.
    """

    read: Tensor | None = None
    written: Tensor | None = None
