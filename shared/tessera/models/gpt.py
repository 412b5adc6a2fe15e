"""GPT: the pre-norm decoder of GPT-2, its parameters named and shaped for torch.

Linear layers keep torch's [out, in] weights; `huggingface.py` transposes them for GPT-2's Conv1D.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.models.config import GPTConfig

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q, k, v), each [B, heads, T, head_dim], to the mixed values of the same shape."""


def causal(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention within the sequences at hand."""
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class Attention(nn.Module):
    """Multi-head self-attention whose mixing step the caller may replace."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        """[B, T, width] to the same."""
        batch, length, width = x.shape
        heads = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(layer, q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Two linear layers with GPT-2's approximate GELU between them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.ff_width)
        self.down = nn.Linear(config.ff_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] to the same."""
        return self.down(functional.gelu(self.up(x), approximate="tanh"))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer: attention, then MLP, each behind a norm and beside a residual."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """[B, T, width] to the same."""
        x = x + self.dropout(self.attention(self.attention_norm(x), self.layer, attend))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """A causal language model.

    Args:
        config: its sizes.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.tokens.weight
        self._initialize()

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        attend: Attend | None = None,
    ) -> Tensor:
        """Logits of the next token.

        Args:
            tokens: [B, T] int64.
            positions: [B, T] int64; default 0 … T-1 in every row.
            attend: mixes the values of one layer; default causal attention within each row.

        Returns:
            [B, T, vocab_size].
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        x = self.dropout(self.tokens(tokens) + self.positions(positions))
        for block in self.blocks:
            x = block(x, attend or causal)
        return self.head(self.norm(x))  # type: ignore[no-any-return]

    def _initialize(self) -> None:
        """GPT-2's: normal 0.02, the layers that feed the residual scaled down by depth."""
        scaled = 0.02 / math.sqrt(2 * self.config.layers)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:  # noqa: PLR2004 - matrices
                feeds_residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
                nn.init.normal_(parameter, std=scaled if feeds_residual else 0.02)
            elif name.endswith("norm.weight"):
                nn.init.ones_(parameter)
            else:
                nn.init.zeros_(parameter)
