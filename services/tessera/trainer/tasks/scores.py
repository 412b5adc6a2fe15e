"""Measures of numbers beside those that are wanted, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def moments(x: Tensor, y: Tensor) -> Tensor:
    """[6] float64: sums of 1, x, y, x², y² and xy.

    Args:
        x: [N].
        y: [N].
    """
    x, y = x.double(), y.double()
    return torch.stack([part.sum() for part in (torch.ones_like(x), x, y, x * x, y * y, x * y)])


def pearson(sums: Sequence[float]) -> float:
    """Correlation of pairs (x, y); 0 where either does not vary.

    Args:
        sums: of 1, x, y, x², y² and xy.
    """
    n, x, y, xx, yy, xy = sums
    spread = max(0.0, n * xx - x * x) * max(0.0, n * yy - y * y)
    return float((n * xy - x * y) / spread**0.5) if spread > 0 else 0.0
