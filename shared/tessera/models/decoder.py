"""The causal stack: a token sees those before it, and an encoder's sequence if there is one."""

from __future__ import annotations

from torch import Tensor

from tessera.models.attention import Attend, AttendMemory, mix
from tessera.models.stack import Stack, places


class Decoder(Stack):
    """Writes sequences."""

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        *,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        attend: Attend | None = None,
        attend_memory: AttendMemory | None = None,
    ) -> Tensor:
        """Hidden states. Padding at the end of a row needs no mask: nothing real sees it.

        Args:
            tokens: [B, T] int64.
            positions: [B, T] int64; default 0 … T-1 in every row.
            memory: [B, S, width], what the encoder has read; None: `attend_memory` keeps it.
            memory_mask: [B, S] bool, False for padding; None: there is none.
            attend: mixes the values of one layer; default causal attention within each row.
            attend_memory: mixes the values of the encoder; default over `memory`.

        Returns:
            [B, T, width].
        """
        if positions is None:
            positions = places(tokens)
        x = self.embeddings(tokens, positions, None)
        own = attend or self._causal()
        other = attend_memory or (None if memory is None else self._over(memory_mask))
        return self.run(x, positions, own, memory, other)

    def remember(self, memory: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of an encoder's states, layer by layer.

        Args:
            memory: [*, width].

        Returns:
            Two tensors [*, kv_heads, head_dim] for each layer.
        """
        return [block.cross.remember(memory) for block in self.blocks]  # type: ignore[union-attr,operator]

    def _causal(self) -> Attend:
        dropout = self.attention_dropout

        def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return mix(q, k, v, causal=True, dropout=dropout)

        return attend

    def _over(self, mask: Tensor | None) -> AttendMemory:
        dropout = self.attention_dropout

        def attend(_layer: int, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
            assert k is not None
            assert v is not None
            return mix(q, k, v, mask=mask, dropout=dropout)

        return attend
