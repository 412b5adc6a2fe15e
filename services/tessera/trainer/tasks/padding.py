"""Rows of several lengths as one batch of few shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera.models.inputs import Inputs
from tessera.text.frame import Frame
from tessera.trainer.data.buckets import shape_of, shapes
from tessera.trainer.tasks.masking import Masker, hide

Ids = NDArray[np.int64]

FULL_ENOUGH = 0.9
"""Share of real tokens from which on padding is computed like them.

Forward and backward of a BERT-mini on one core of a CPU, 16 rows, time of padded over padding-free:

    real      0.53   0.70   0.80   0.85   0.90   0.95   1.00
    T = 32    1.71   1.36   1.18   1.11   1.06   1.00   0.96
    T = 64    1.72   1.32   1.20   1.07   1.19   1.03   0.97
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Padded:
    """Rows filled up to one length.

    Args:
        ids: [B, T] int64.
        mask: [B, T] bool, False where it is filled up; None: nowhere.
        index: [N] int64, places of real tokens among B * T, where it pays to compute them only.
        real: number of real tokens.
    """

    ids: Tensor
    mask: Tensor | None
    index: Tensor | None
    real: int

    @property
    def places(self) -> Tensor | None:
        """[N] int64, places of real tokens among B * T; None: all are real."""
        return None if self.mask is None else self.mask.flatten().nonzero()[:, 0]


def pad(rows: Sequence[Ids], fill: int, longest: int) -> Padded:
    """Rows as one batch.

    Args:
        rows: none longer than `longest`.
        fill: id that stands where there is nothing.
        longest: tokens of any row of the data set; it decides which shapes there are. 0: the rows
            come in few lengths, which are the shapes.
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    width = int(lengths.max())
    if longest:
        available = shapes(longest)
        width = available[int(shape_of(lengths.max(), available))]
    mask = np.arange(width) < lengths[:, None]
    ids = np.full(mask.shape, fill, dtype=np.int64)
    ids[mask] = np.concatenate(rows)
    real = int(lengths.sum())
    index = np.flatnonzero(mask) if real < FULL_ENOUGH * mask.size else None
    return Padded(
        ids=torch.from_numpy(ids),
        mask=None if real == mask.size else torch.from_numpy(mask),
        index=None if index is None else torch.from_numpy(index),
        real=real,
    )


def segments(padded: Padded, second: Sequence[int], frame: Frame) -> Tensor | None:
    """[B, T] int64: the segments of rows with two texts, and 0 elsewhere; None: nowhere another.

    Args:
        padded: the rows.
        second: [B] places where the second text begins; the length of a row if it has none.
        frame: what stands around two texts.
    """
    found = torch.zeros_like(padded.ids)
    mask = torch.ones_like(found) if padded.mask is None else padded.mask
    lengths = mask.sum(dim=1).tolist()
    for row, (place, length) in enumerate(zip(second, lengths, strict=True)):
        if place < length:
            found[row, :length] = torch.tensor(frame.segments(place, length))
    return found if bool(found.any()) else None


def inputs_of(padded: Padded, second: Sequence[int] = (), frame: Frame | None = None) -> Inputs:
    """What an encoder reads of rows with one text or two.

    Args:
        padded: the rows.
        second: [B] places, as `segments` takes them; empty: no row has a second text.
        frame: what stands around two texts; None: no row has a second text.
    """
    return Inputs(
        padded.ids,
        mask=padded.mask,
        index=padded.index,
        segments=segments(padded, second, frame) if frame else None,
    )


def hide_padded(  # noqa: PLR0917 - what `hide` and `pad` take
    masker: Masker,
    split: str,
    rows: Sequence[Ids],
    sample_seeds: Ids,
    whole: Padded,
    fill: int,
    longest: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """What an encoder sees of rows, the hidden places, and the tokens that are there.

    Args:
        masker: hides them.
        split: `train` or `held_out`.
        rows: of tokens.
        sample_seeds: [B] of the rows.
        whole: the rows as `pad` made them.
        fill: that `pad` was given.
        longest: that `pad` was given.
    """
    shown, places = hide(masker, split, rows, sample_seeds, whole.ids.shape[1])
    where = torch.from_numpy(places)
    return pad(shown, fill, longest).ids, where, whole.ids.flatten()[where]
