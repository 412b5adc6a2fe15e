"""What stands around a text, or two, when a model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import tokenizers

_PROBES = ("a", "0", "一")
"""Texts of which any tokenizer makes a token of at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Special tokens around what a model reads.

    Args:
        before: a text, or the first of two.
        between: two texts.
        after: a text, or the second of two.
        before_pair: two texts; None: as before one.
        after_pair: two texts; None: as after one.
        kinds: segments of two texts with all that stands around and between them: of each special
            token, and one of each text, in their order; empty: 1 from the second text on.
    """

    before: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    before_pair: tuple[int, ...] | None = None
    after_pair: tuple[int, ...] | None = None
    kinds: tuple[int, ...] = ()

    @property
    def one(self) -> int:
        """Special tokens around one text."""
        return len(self.before) + len(self.after)

    @property
    def pair(self) -> int:
        """Special tokens around two texts."""
        return len(self.opening) + len(self.between) + len(self.closing)

    @property
    def opening(self) -> tuple[int, ...]:
        """What stands before two texts."""
        return self.before if self.before_pair is None else self.before_pair

    @property
    def closing(self) -> tuple[int, ...]:
        """What stands after two texts."""
        return self.after if self.after_pair is None else self.after_pair

    def without(self, token: int) -> Self:
        """The same without a token at the very end, however often it stands there."""
        after, closing = _stripped(self.after, token), _stripped(self.closing, token)
        lost = len(self.closing) - len(closing)
        return replace(
            self,
            after=after,
            after_pair=None if closing == after else closing,
            kinds=self.kinds[: len(self.kinds) - lost],
        )

    def around(self, ids: Sequence[int]) -> list[int]:
        """What a model reads of one text."""
        return [*self.before, *ids, *self.after]

    def around_pair(self, first: Sequence[int], second: Sequence[int]) -> tuple[list[int], int]:
        """What a model reads of two texts, and the place at which the second one begins."""
        left = [*self.opening, *first, *self.between]
        return [*left, *second, *self.closing], len(left)

    def segments(self, place: int, length: int) -> list[int]:
        """The segment of each token of two texts.

        Args:
            place: at which the second one begins.
            length: of all that is read.
        """
        if not self.kinds:
            return [0] * place + [1] * (length - place)
        left, right = len(self.opening), len(self.closing)
        first = place - left - len(self.between)
        counts = [1] * len(self.kinds)
        counts[left], counts[-right - 1] = first, length - place - right
        return [kind for kind, count in zip(self.kinds, counts, strict=True) for _ in range(count)]


def _stripped(tokens: tuple[int, ...], last: int) -> tuple[int, ...]:
    while tokens and tokens[-1] == last:
        tokens = tokens[:-1]
    return tokens


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
            return _frame(one, pair)
    return None


def _frame(one: tokenizers.Encoding, pair: tokenizers.Encoding) -> Frame:
    """What stands around a text, and around it and itself."""
    first, last = _ends(one.sequence_ids, 0)
    begin, left = _ends(pair.sequence_ids, 0)
    right, end = _ends(pair.sequence_ids, 1)
    before, after = tuple(one.ids[:first]), tuple(one.ids[last + 1 :])
    before_pair, after_pair = tuple(pair.ids[:begin]), tuple(pair.ids[end + 1 :])
    kinds = [*pair.type_ids[: begin + 1], *pair.type_ids[left + 1 : right + 1],
             *pair.type_ids[end + 1 :]]  # fmt: skip
    usual = [0] * (begin + 1 + right - left - 1) + [1] * (len(pair.ids) - end)
    return Frame(
        before=before,
        between=tuple(pair.ids[left + 1 : right]),
        after=after,
        before_pair=None if before_pair == before else before_pair,
        after_pair=None if after_pair == after else after_pair,
        kinds=() if kinds == usual else tuple(kinds),
    )


def _ends(sequences: Sequence[int | None], wanted: int) -> tuple[int, int]:
    """First and last place of a text among the tokens."""
    places = [place for place, found in enumerate(sequences) if found == wanted]
    return places[0], places[-1]
