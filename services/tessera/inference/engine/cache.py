"""Keys and values in blocks, and attention over them: a plain form that runs on any device."""

from __future__ import annotations

from collections.abc import Sequence as Ordered

import torch
from torch import Tensor
from torch.nn import functional

from tessera.inference.engine.sequence import Sequence
from tessera.models.gpt import Attend, causal


class PagedCache:
    """The memory behind the block manager's ids.

    Args:
        layers: of the model.
        heads: of each layer.
        head_dim: width of a head.
        blocks: how many blocks.
        block_size: tokens of a block.
        dtype: of keys and values.
        device: where they lie.
    """

    def __init__(
        self,
        *,
        layers: int,
        heads: int,
        head_dim: int,
        blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        # Zeros: a masked place must hold a number, since 0 * NaN would spoil its row.
        shape = (layers, blocks * block_size, heads, head_dim)
        self._keys = torch.zeros(shape, dtype=dtype, device=device)
        self._values = torch.zeros(shape, dtype=dtype, device=device)
        self._blocks = blocks
        self._block_size = block_size
        self._device = device

    def prefill(self, sequence: Sequence) -> Attend:
        """Causal attention of one whole sequence that keeps its keys and values."""
        places = torch.tensor(self._places(sequence, len(sequence)), device=self._device)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self._keys[layer].index_copy_(0, places, k[0].transpose(0, 1))
            self._values[layer].index_copy_(0, places, v[0].transpose(0, 1))
            return causal(layer, q, k, v)

        return attend

    def decode(self, sequences: Ordered[Sequence]) -> Attend:
        """Attention of the last token of each sequence over all of its tokens."""
        width = max(len(sequence.blocks) for sequence in sequences)
        table = torch.tensor(
            [s.blocks + [0] * (width - len(s.blocks)) for s in sequences], device=self._device
        ).flatten()
        lengths = [len(s) for s in sequences]
        places = torch.tensor(
            [self._place(s, n - 1) for s, n in zip(sequences, lengths, strict=True)],
            device=self._device,
        )
        span = torch.arange(width * self._block_size, device=self._device)
        longest = max(lengths)
        mask = (span[:longest] < torch.tensor(lengths, device=self._device)[:, None])[:, None, None]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self._keys[layer].index_copy_(0, places, k.squeeze(2))
            self._values[layer].index_copy_(0, places, v.squeeze(2))
            keys = self._gather(self._keys[layer], table, len(sequences))[:, :, :longest]
            values = self._gather(self._values[layer], table, len(sequences))[:, :, :longest]
            return functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask)

        return attend

    def _gather(self, pool: Tensor, table: Tensor, rows: int) -> Tensor:
        """[rows, heads, places, head_dim] of the blocks in the table."""
        heads, head_dim = pool.shape[1:]
        blocks = pool.view(self._blocks, -1).index_select(0, table)
        return blocks.view(rows, -1, heads, head_dim).transpose(1, 2)

    def _place(self, sequence: Sequence, position: int) -> int:
        block = sequence.blocks[position // self._block_size]
        return block * self._block_size + position % self._block_size

    def _places(self, sequence: Sequence, length: int) -> list[int]:
        size = self._block_size
        every = (block * size + offset for block in sequence.blocks for offset in range(size))
        return [place for _, place in zip(range(length), every, strict=False)]
