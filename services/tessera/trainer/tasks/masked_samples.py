"""Samples of masked language modelling where texts are not packed: one text each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tessera.models.inputs import Inputs
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.record import Record
from tessera.trainer.data.table import Sample
from tessera.trainer.tasks.encoding import with_ids
from tessera.trainer.tasks.frames import framed
from tessera.trainer.tasks.masking import Ids, Masker, hide
from tessera.trainer.tasks.padding import Padded, pad
from tessera.trainer.tasks.records import Row

COLUMN = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoder:
    """Makes samples of records with a text.

    Args:
        tokenizer: of the texts.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """Texts between a start and an end, cut to what fits."""
        for _, ids in with_ids(self.tokenizer, records, COLUMN):
            yield {COLUMN: framed(ids, self.tokenizer.frame(), self.longest)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCollate:
    """Makes batches of texts with tokens hidden.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
        masker: hides tokens.
    """

    tokenizer: Tokenizer
    longest: int
    masker: Masker

    def __call__(self, split: str, rows: Sequence[Row], draws: Ids) -> TokenBatch:
        """A batch whose counts depend on the texts only, not on the draws."""
        texts = [row[COLUMN] for row in rows]
        whole = pad(texts, self.tokenizer.pad_id, self.longest)
        seen, places, hidden = hide_padded(
            self.masker, split, texts, draws, whole, self.tokenizer.pad_id, self.longest
        )
        return TokenBatch(
            inputs=Inputs(
                seen,
                mask=whole.mask,
                index=whole.index,
                masked_at=places,
            ),
            targets={"masked": hidden},
            counts=(len(places),),
            tokens=whole.real,
        )


def hide_padded(  # noqa: PLR0917 - what `hide` and `pad` take
    masker: Masker,
    split: str,
    rows: Sequence[Ids],
    draws: Ids,
    whole: Padded,
    fill: int,
    longest: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """What an encoder sees of rows, the hidden places, and the tokens that are there.

    Args:
        masker: hides them.
        split: `train` or `held_out`.
        rows: of tokens.
        draws: [B] of the rows.
        whole: the rows as `pad` made them.
        fill: that `pad` was given.
        longest: that `pad` was given.
    """
    shown, places = hide(masker, split, rows, draws, whole.ids.shape[1])
    where = torch.from_numpy(places)
    return pad(shown, fill, longest).ids, where, whole.ids.flatten()[where]
