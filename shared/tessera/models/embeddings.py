"""From token ids to the residual stream."""

from __future__ import annotations

import math

from torch import Tensor, nn

from tessera.models.block import make_norm
from tessera.models.config import StackConfig
from tessera.models.positions import Sinusoid


class InputEmbeddings(nn.Module):
    """Tokens, positions and segments, summed.

    Args:
        config: of the stack.
        tokens: the token embedding, possibly of another stack too.
    """

    def __init__(self, config: StackConfig, tokens: nn.Embedding) -> None:
        super().__init__()
        self.tokens = tokens
        self.scale = math.sqrt(config.width) if config.embedding_scale else 1.0
        self.offset = config.position_offset
        self.sinusoid: Sinusoid | None = None
        if config.positions == "learned":
            self.positions = nn.Embedding(config.context + config.position_offset, config.width)
        elif config.positions == "sinusoidal":
            self.sinusoid = Sinusoid(config.context, config.width)
        self.learned = config.positions == "learned"
        self.segments = nn.Embedding(config.segments, config.width) if config.segments else None
        self.norm = make_norm(config) if config.embedding_norm else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, positions: Tensor, segments: Tensor | None) -> Tensor:
        """[*] int64, [*] int64, and [*] int64 or None for segment 0, to [*, width]."""
        x = self.tokens(tokens) * self.scale
        if self.segments is not None:
            rows = self.segments.weight[0] if segments is None else self.segments(segments)
            x = x + rows
        if self.learned:
            x = x + self.positions(positions + self.offset)
        elif self.sinusoid is not None:
            x = x + self.sinusoid(positions).to(x.dtype)
        if self.norm is not None:
            x = self.norm(x)
        return self.dropout(x)  # type: ignore[no-any-return]
