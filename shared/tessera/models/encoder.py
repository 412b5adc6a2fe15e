"""The bidirectional stack: every token sees every other one of its sequence."""

from __future__ import annotations

from torch import Tensor

from tessera.models.attention import Attend, Padding, mix
from tessera.models.stack import Stack, places


class Encoder(Stack):
    """Reads whole sequences."""

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Hidden states.

        Args:
            tokens: [B, T] int64.
            mask: [B, T] bool, False for padding; None: there is none.
            segments: [B, T] int64; None: 0.
            index: [N] int64, places of the real tokens among B * T; everything but attention is
                then computed for them alone, and padding comes out as zeros.

        Returns:
            [B, T, width].
        """
        positions = places(tokens)
        padding = None if index is None or mask is None else Padding(mask, index)
        if padding is not None:
            tokens, positions = padding.remove(tokens), padding.remove(positions)
            segments = None if segments is None else padding.remove(segments)
        x = self.embeddings(tokens, positions, segments)
        x = self.run(x, positions, self._attend(mask, padding))
        return x if padding is None else padding.restore(x)

    def _attend(self, mask: Tensor | None, padding: Padding | None) -> Attend:
        dropout = self.attention_dropout

        def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return mix(q, k, v, mask=mask, dropout=dropout)

        def attend_packed(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            assert padding is not None
            whole = (padding.restore(part) for part in (q, k, v))
            return padding.remove(mix(*whole, mask=mask, dropout=dropout))

        return attend if padding is None else attend_packed
