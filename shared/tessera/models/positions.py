"""Where a token stands: tables that are computed, not learned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Rotate = Callable[[Tensor], Tensor]
"""Turns queries or keys [*, heads, head_dim] by the positions of their tokens."""


class Sinusoid:
    """Sines beside cosines of geometrically falling frequency (Vaswani et al., 2017, 3.5).

    The two halves stand side by side, not interleaved: the same up to a permutation of the width.

    Args:
        context: positions.
        width: of an embedding.
    """

    def __init__(self, context: int, width: int) -> None:
        self._context = context
        self._width = width
        self._tables: dict[torch.device, Tensor] = {}

    def __call__(self, positions: Tensor) -> Tensor:
        """[*] positions to [*, width]."""
        if positions.device not in self._tables:
            self._tables[positions.device] = self._table().to(positions.device)
        return self._tables[positions.device][positions]

    def _table(self) -> Tensor:
        half = (self._width + 1) // 2
        steps = torch.arange(half, dtype=torch.float64, device="cpu")
        places = torch.arange(self._context, dtype=torch.float64, device="cpu")
        angles = places[:, None] / 10000 ** (2 * steps / self._width)
        return torch.cat([angles.sin(), angles.cos()[:, : self._width - half]], dim=-1).float()


class Rotary:
    """Turns pairs of a head by angles that grow with the position (Su et al., 2021).

    A pair is an element of the head's first half and its partner in the second.

    Args:
        head_dim: width of a head, even.
        base: slowest wavelength over 2 pi.
    """

    def __init__(self, head_dim: int, base: float) -> None:
        self._head_dim = head_dim
        self._base = base

    def at(self, positions: Tensor) -> Rotate:
        """The turn of tokens at [*] positions."""
        steps = torch.arange(0, self._head_dim, 2, device=positions.device).float()
        angles = positions[..., None].float() / self._base ** (steps / self._head_dim)
        cosines = torch.cat([angles.cos()] * 2, dim=-1)[..., None, :]
        sines = torch.cat([angles.sin()] * 2, dim=-1)[..., None, :]

        def rotate(heads: Tensor) -> Tensor:
            first, second = heads.chunk(2, dim=-1)
            turned = torch.cat([-second, first], dim=-1)
            return (heads * cosines + turned * sines).to(heads.dtype)

        return rotate
