"""Keys and values in blocks, and attention over them: a plain form that runs on any device."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered

import torch
from torch import Tensor

from tessera.inference.engine.batch import Batch, fill_up, real_places
from tessera.inference.engine.sequence import Branch
from tessera.models.attention import Attend, AttendMemory, mix
from tessera.models.config import StackConfig

Held = Ordered[tuple[list[int], int]]
"""Blocks and length of texts."""

Window = Callable[[int, Tensor], Tensor]
Remembered = Ordered[tuple[Tensor, Tensor]]


class PagedCache:
    """The memory behind a block manager's ids.

    Args:
        config: of the decoder whose keys and values it keeps.
        blocks: how many blocks.
        block_size: tokens of a block.
        dtype: of keys and values.
        device: where they lie.
    """

    def __init__(
        self,
        config: StackConfig,
        *,
        blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        # A masked place must hold a number, since 0 * NaN would spoil its row. So places of a block
        # that no token has written are zeros, and one more block, which is never written, stands
        # where a row of a table has fewer blocks than others: no row sees what is another's.
        shape = (config.layers, (blocks + 1) * block_size, config.kv_heads, config.head_dim)
        self._keys = torch.zeros(shape, dtype=dtype, device=device)
        self._values = torch.zeros(shape, dtype=dtype, device=device)
        self._blocks = blocks + 1
        self._block_size = block_size
        self._device = device

    def copy(self, pairs: Ordered[tuple[int, int]]) -> None:
        """Copy blocks, (from, to), whole."""
        old, new = (torch.tensor(ids, device=self._device) for ids in zip(*pairs, strict=True))
        for pool in (self._keys, self._values):
            blocks = pool.view(len(pool), self._blocks, -1)
            blocks[:, new] = blocks[:, old]

    def prefill(self, branches: Ordered[Branch], batch: Batch) -> Attend:
        """Causal attention of whole branches that keeps their keys and values."""
        held = [(branch.blocks, len(branch)) for branch in branches]
        places = self._places(held)
        self._clear_ends(held)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self._store(layer, places, batch.real(k), batch.real(v))
            return mix(q, batch.blank(k), batch.blank(v), causal=True)

        return attend

    def decode(self, branches: Ordered[Branch]) -> Attend:
        """Attention of the last token of each branch over all of its tokens."""
        size = self._block_size
        last = [(b.blocks[(len(b) - 1) // size], (len(b) - 1) % size) for b in branches]
        places = torch.tensor([block * size + at for block, at in last], device=self._device)
        self._clear([block for block, at in last if not at])
        window = self._window([(branch.blocks, len(branch)) for branch in branches])

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self._store(layer, places, k.squeeze(1), v.squeeze(1))
            return window(layer, q)

        return attend

    def remember(self, held: Held, states: Remembered) -> None:
        """Keep keys and values of what encoders have read, one text after the other.

        Args:
            held: blocks and length of each text.
            states: keys and values [N, kv_heads, head_dim] of each layer.
        """
        places = self._places(held)
        self._clear_ends(held)
        for layer, (keys, values) in enumerate(states):
            self._store(layer, places, keys, values)

    def recall(self, held: Held) -> AttendMemory:
        """Attention of rows to the text that each of them belongs to.

        Args:
            held: blocks and length of the text, row by row.
        """
        window = self._window(held)

        def attend(layer: int, q: Tensor, _k: Tensor | None, _v: Tensor | None) -> Tensor:
            return window(layer, q)

        return attend

    def _store(self, layer: int, places: Tensor, k: Tensor, v: Tensor) -> None:
        self._keys[layer].index_copy_(0, places, k)
        self._values[layer].index_copy_(0, places, v)

    def _clear_ends(self, held: Held) -> None:
        """Zeros in the last blocks of texts that do not fill them."""
        size = self._block_size
        self._clear([blocks[length // size] for blocks, length in held if length % size])

    def _clear(self, blocks: Ordered[int]) -> None:
        """Zeros in blocks that are about to be written."""
        if not blocks:
            return
        chosen = torch.tensor(blocks, device=self._device)
        for pool in (self._keys, self._values):
            pool.view(len(pool), self._blocks, -1).index_fill_(1, chosen, 0)

    def _window(self, held: Held) -> Window:
        """Attention [rows, T, heads, head_dim] over what lies in blocks, row by row."""
        empty = self._blocks - 1
        table = fill_up([blocks for blocks, _ in held], self._device, empty)
        mask = real_places([length for _, length in held], self._device)
        longest = mask.shape[1]

        def attend(layer: int, q: Tensor) -> Tensor:
            keys, values = (
                self._gather(pool[layer], table)[:, :longest] for pool in (self._keys, self._values)
            )
            return mix(q, keys, values, mask=mask)

        return attend

    def _gather(self, pool: Tensor, table: Tensor) -> Tensor:
        """[rows, places, kv_heads, head_dim] of the blocks in a table [rows, blocks]."""
        blocks = pool.view(self._blocks, -1).index_select(0, table.flatten())
        return blocks.view(len(table), -1, *pool.shape[1:])

    def _places(self, held: Held) -> Tensor:
        """Where the tokens of texts lie, one text after the other."""
        offsets = torch.arange(self._block_size, device=self._device)
        parts = [
            (
                torch.tensor(blocks, device=self._device)[:, None] * self._block_size + offsets
            ).flatten()[:length]
            for blocks, length in held
        ]
        return torch.cat(parts)
