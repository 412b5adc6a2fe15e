"""A layer between what stands for a text and its vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.models.dense_config import DenseConfig

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
}


class Dense(nn.Module):
    """A linear layer with an activation, as sentence-transformers has it.

    Args:
        width: of what comes in.
        config: of the layer.
    """

    def __init__(self, width: int, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(width, config.width, bias=config.bias)
        projected = config.residual and width != config.width
        self.residual = nn.Linear(width, config.width, bias=False) if projected else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, width] to [B, width of the config]."""
        out = _ACTIVATIONS[self.config.activation](self.linear(x))
        if not self.config.residual:
            return out
        return out + (x if self.residual is None else self.residual(x))
