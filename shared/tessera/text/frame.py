"""What stands around a text, or two, when a model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tokenizers

_PROBES = ("a", "0", "一")
"""Texts of which any tokenizer makes a token of at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Special tokens around what a model reads.

    Args:
        before: a text, or the first of two.
        between: two texts; the second segment begins after it.
        after: a text, or the second of two.
    """

    before: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def one(self) -> int:
        """Special tokens around one text."""
        return len(self.before) + len(self.after)

    @property
    def pair(self) -> int:
        """Special tokens around two texts."""
        return self.one + len(self.between)

    def around(self, ids: Sequence[int]) -> list[int]:
        """What a model reads of one text."""
        return [*self.before, *ids, *self.after]

    def around_pair(self, first: Sequence[int], second: Sequence[int]) -> tuple[list[int], int]:
        """What a model reads of two texts, and the place at which the second segment begins."""
        left = [*self.before, *first, *self.between]
        return [*left, *second, *self.after], len(left)


def find_frame(inner: tokenizers.Tokenizer) -> Frame | None:
    """The frame that a `tokenizer.json` states in its post-processor; None: it has none.

    Args:
        inner: that neither truncates nor pads.
    """
    if inner.post_processor is None:
        return None
    for probe in _PROBES:
        one, pair = inner.encode(probe), inner.encode(probe, probe)
        if 0 in one.sequence_ids:
            first, last = _ends(one.sequence_ids, 0)
            _, left = _ends(pair.sequence_ids, 0)
            right, _ = _ends(pair.sequence_ids, 1)
            return Frame(
                before=tuple(one.ids[:first]),
                between=tuple(pair.ids[left + 1 : right]),
                after=tuple(one.ids[last + 1 :]),
            )
    return None


def _ends(sequences: Sequence[int | None], wanted: int) -> tuple[int, int]:
    """First and last place of a text among the tokens."""
    places = [place for place, found in enumerate(sequences) if found == wanted]
    return places[0], places[-1]
