"""Attention: projections that belong to a layer, and a mixing step that the caller may replace.

Heads stand before their width in every tensor here, and any leading axes do: [B, T, heads,
head_dim] for padded batches, [N, heads, head_dim] for batches without padding. Only the mixing
step knows which tokens are of one sequence.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.models.config import StackConfig
from tessera.models.positions import Rotate

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q [*, heads, head_dim], k and v [*, kv_heads, head_dim]) to mixed values like q."""

AttendMemory = Callable[[int, Tensor, Tensor | None, Tensor | None], Tensor]
"""The same over an encoder's tokens; k and v are None where the caller keeps them itself."""


def mix(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Scaled dot-product attention.

    Args:
        q: [B, T, heads, head_dim].
        k: [B, S, kv_heads, head_dim].
        v: like k.
        mask: [B, S] bool, which of S may be looked at; every row has one.
        causal: whether place t looks at places up to t only.
        dropout: probability that a weight is dropped.

    Returns:
        Like q.
    """
    mixed = functional.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=None if mask is None else mask[:, None, None, :],
        dropout_p=dropout,
        is_causal=causal,
        enable_gqa=q.shape[-2] != k.shape[-2],
    )
    return mixed.transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention, with fewer heads of keys and values if so configured."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_dim = config.head_dim
        rows = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.width, rows, bias=config.bias)
        self.out = nn.Linear(config.width, config.width, bias=config.bias)

    def forward(self, x: Tensor, layer: int, attend: Attend, rotate: Rotate | None) -> Tensor:
        """[*, width] to the same."""
        heads = self.qkv(x).unflatten(-1, (-1, self.head_dim))
        q, k, v = heads.split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        return self.out(attend(layer, q, k, v).flatten(-2))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Multi-head attention of a decoder to what an encoder has read."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q = nn.Linear(config.width, config.width, bias=config.bias)
        rows = 2 * config.kv_heads * config.head_dim
        self.kv = nn.Linear(config.width, rows, bias=config.bias)
        self.out = nn.Linear(config.width, config.width, bias=config.bias)

    def remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [*, kv_heads, head_dim] of an encoder's states [*, width]."""
        keys, values = self.kv(memory).unflatten(-1, (-1, self.head_dim)).chunk(2, dim=-2)
        return keys, values

    def forward(self, x: Tensor, layer: int, attend: AttendMemory, memory: Tensor | None) -> Tensor:
        """[*, width] to the same."""
        q = self.q(x).unflatten(-1, (-1, self.head_dim))
        k, v = (None, None) if memory is None else self.remember(memory)
        return self.out(attend(layer, q, k, v).flatten(-2))  # type: ignore[no-any-return]


class Padding:
    """Which tokens of a padded batch are real, and a batch of them alone.

    Args:
        mask: [B, T] bool.
        index: [N] int64, places of the real ones among B * T.
    """

    def __init__(self, mask: Tensor, index: Tensor) -> None:
        self.mask = mask
        self._index = index

    def remove(self, x: Tensor) -> Tensor:
        """[B, T, …] to [N, …]."""
        return x.flatten(0, 1)[self._index]

    def restore(self, x: Tensor) -> Tensor:
        """[N, …] to [B, T, …], zero where there is padding."""
        batch, length = self.mask.shape
        rest = x.shape[1:]
        whole = torch.zeros((batch * length, *rest), dtype=x.dtype, device=x.device)
        return whole.index_copy(0, self._index, x).view(batch, length, *rest)
