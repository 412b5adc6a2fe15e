"""Samples of two texts, of which a decoder writes the second one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera.data.record import Record
from tessera.models.inputs import Inputs
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.table import Sample
from tessera.trainer.failure import UserError
from tessera.trainer.tasks.encoding import tokenize_records
from tessera.trainer.tasks.frames import framed
from tessera.trainer.tasks.masking import Masker
from tessera.trainer.tasks.padding import hide_padded, pad
from tessera.trainer.tasks.records import Row

COLUMNS = ("source", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairEncoder:
    """Makes samples of records with a source and a target.

    Args:
        tokenizer: of both.
        longest: tokens of a sequence.
        first: token that the decoder begins with.
        cut: whether targets that are too long are cut; else their records are left out.
    """

    tokenizer: Tokenizer
    longest: int
    first: int
    cut: bool

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """`source` as the encoder reads it, and `target` with its end.

        Raises:
            UserError: DATA_TOO_LONG: every record is left out.
        """
        kept = 0
        frame = self.tokenizer.frame()
        begin = self.tokenizer.opening(self.first)
        for _, source, target in tokenize_records(self.tokenizer, records, *COLUMNS):
            said = [*begin, *target, self.tokenizer.end_id]
            if len(said) <= self.longest or self.cut:
                kept += 1
                read = framed(source, frame, self.longest)
                yield {"source": read, "target": said[: self.longest]}
        if not kept:
            description = (
                f"every target has more than {self.longest - 1} tokens; raise "
                "`train.sequence_length`"
            )
            raise UserError.at("data.files", description, "DATA_TOO_LONG")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCollate:
    """Makes batches of sources that are read and targets that are written.

    Args:
        tokenizer: has the special tokens.
        first: token that the decoder begins with.
        longest: tokens of a sequence; 0: see `pad`.
        masker: hides tokens of the source, where they are targets too.
    """

    tokenizer: Tokenizer
    first: int
    longest: int
    masker: Masker | None = None

    def __call__(
        self, split: str, rows: Sequence[Row], sample_seeds: NDArray[np.int64]
    ) -> TokenBatch:
        """A batch of samples."""
        sources = [row["source"] for row in rows]
        return self.batch(split, sources, [row["target"] for row in rows], sample_seeds)

    def batch(
        self,
        split: str,
        sources: Sequence[NDArray[np.int64]],
        targets: Sequence[NDArray[np.int64]],
        sample_seeds: NDArray[np.int64],
    ) -> TokenBatch:
        """A batch of sequences.

        Args:
            split: `train` or `held_out`.
            sources: framed.
            targets: with an end, or without one where they go on.
            sample_seeds: [B] of the samples.
        """
        read = pad(sources, self.tokenizer.pad_id, self.longest)
        # The decoder begins with a token of its own, and never reads the last one.
        first = [self.first]
        written = pad(
            [np.concatenate([first, target[:-1]]) for target in targets],
            self.tokenizer.pad_id,
            self.longest,
        )
        following = torch.from_numpy(np.concatenate(targets))
        found = {"next": following}
        counts: tuple[int, ...] = (len(following),)
        seen, places = None, None
        if self.masker is not None:
            seen, places, found["masked"] = hide_padded(
                self.masker, split, sources, sample_seeds, read, self.tokenizer.pad_id, self.longest
            )
            counts = (len(places), len(following))
        return TokenBatch(
            inputs=Inputs(
                read.ids,
                mask=read.mask,
                index=read.index,
                decoder_tokens=written.ids,
                masked_tokens=seen,
                at=written.places,
                masked_at=places,
            ),
            targets=found,
            counts=counts,
            tokens=read.real + written.real,
        )
