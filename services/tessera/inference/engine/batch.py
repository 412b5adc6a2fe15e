"""Rows of different lengths as one batch of tensors, filled up at the end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def fill_up(rows: Sequence[Sequence[int]], device: torch.device, filler: int = 0) -> Tensor:
    """Rows as [B, T], filled up at the end."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows], device=device)


def real_places(lengths: Sequence[int], device: torch.device) -> Tensor:
    """[B, T] bool, False where rows of these lengths are filled up."""
    places = torch.arange(max(lengths), device=device)
    return places < torch.tensor(lengths, device=device)[:, None]


class Batch:
    """Rows of tokens.

    Args:
        rows: none of them empty.
        device: where the model is.

    `mask` and `index` are those of `tessera.models.inputs.Inputs`.
    """

    def __init__(self, rows: Sequence[Sequence[int]], device: torch.device) -> None:
        self.lengths = [len(row) for row in rows]
        self.tokens = fill_up(rows, device)
        self.mask: Tensor | None = None
        self.index: Tensor | None = None
        if min(self.lengths) < self.width:
            self.mask = real_places(self.lengths, device)
            self.index = self.mask.flatten().nonzero().squeeze(1)

    @property
    def width(self) -> int:
        """Places of a row."""
        return self.tokens.shape[1]

    def real(self, x: Tensor) -> Tensor:
        """[B, T, …] to [N, …]: what belongs to real tokens, one row after the other."""
        flat = x.flatten(0, 1)
        return flat if self.index is None else flat[self.index]

    def blank(self, x: Tensor) -> Tensor:
        """[B, T, …] to the same, with zeros where rows are filled up, whatever stood there."""
        if self.mask is None:
            return x
        mask = self.mask.view(*self.mask.shape, *[1] * (x.dim() - 2))
        return x.masked_fill(~mask, 0)

    def last(self, x: Tensor) -> Tensor:
        """[B, T, …] to [B, …]: what belongs to the last token of every row."""
        rows = torch.arange(len(self.lengths), device=x.device)
        return x[rows, torch.tensor(self.lengths, device=x.device) - 1]
