"""What an encoder and a decoder have in common: embeddings, blocks and a last norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tessera.models.attention import Attend, AttendMemory
from tessera.models.block import Block, make_norm
from tessera.models.config import StackConfig
from tessera.models.embeddings import InputEmbeddings
from tessera.models.positions import Rotary


class Stack(nn.Module):
    """A stack of blocks.

    Args:
        config: its sizes and choices.
        tokens: its token embedding, possibly of another stack too.
        cross: whether its blocks attend to an encoder too.
    """

    def __init__(self, config: StackConfig, tokens: nn.Embedding, *, cross: bool = False) -> None:
        super().__init__()
        self.config = config
        self.embeddings = InputEmbeddings(config, tokens)
        self.blocks = nn.ModuleList(
            Block(config, layer, cross=cross) for layer in range(config.layers)
        )
        self.norm = make_norm(config) if config.final_norm else None
        rotary = config.positions == "rotary"
        self._rotary = Rotary(config.head_dim, config.rotary_base) if rotary else None

    def run(
        self,
        x: Tensor,
        positions: Tensor,
        attend: Attend,
        memory: Tensor | None = None,
        attend_memory: AttendMemory | None = None,
    ) -> Tensor:
        """Take the residual stream [*, width] of tokens at [*] positions through all blocks.

        The other arguments are those of `Block.forward`.
        """
        rotate = None if self._rotary is None else self._rotary.at(positions)
        for block in self.blocks:
            x = block(x, attend, rotate, memory, attend_memory)
        return x if self.norm is None else self.norm(x)

    @property
    def attention_dropout(self) -> float:
        """Probability that an attention weight is dropped now."""
        return self.config.attention_dropout if self.training else 0.0


def places(tokens: Tensor) -> Tensor:
    """[B, T] int64: 0 … T-1 in every row."""
    return torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
