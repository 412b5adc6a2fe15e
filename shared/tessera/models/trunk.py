"""What every family's trunk offers: states of an encoder, of a decoder, or of both."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from tessera.models.config import ModelConfig
from tessera.models.decoder import Decoder
from tessera.models.encoder import Encoder
from tessera.models.inputs import Inputs


class States(NamedTuple):
    """Hidden states.

    Args:
        encoder: [B, T, width], where there is an encoder.
        decoder: [B, U, width], where there is a decoder.
    """

    encoder: Tensor | None = None
    decoder: Tensor | None = None

    @property
    def fused(self) -> Tensor:
        """Their sum where both read the same sequence; otherwise the one that is there."""
        if self.encoder is None or self.decoder is None:
            one = self.decoder if self.encoder is None else self.encoder
            assert one is not None
            return one
        return self.encoder + self.decoder


class Trunk(nn.Module):
    """A model without its heads.

    Args:
        config: of the model.
    """

    encoder: Encoder | None
    decoder: Decoder | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = self.decoder = None
        tokens = nn.Embedding(config.vocab_size, config.width)
        if config.encoder is not None:
            self.encoder = Encoder(config.encoder, tokens)
        if config.decoder is not None:
            cross = self.encoder is not None
            if cross and not config.share_embeddings:
                tokens = nn.Embedding(config.target_vocab_size, config.decoder.width)
            self.decoder = Decoder(config.decoder, tokens, cross=cross)

    @property
    def stacks(self) -> tuple[Encoder | Decoder, ...]:
        """Encoder and decoder, those that are there."""
        return tuple(stack for stack in (self.encoder, self.decoder) if stack is not None)

    def forward(self, inputs: Inputs) -> States:
        """The states that the heads see."""
        raise NotImplementedError
