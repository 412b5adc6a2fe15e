"""What every family's trunk is made of: an encoder, a decoder, or both."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tessera.models.config import ModelConfig
from tessera.models.decoder import Decoder
from tessera.models.encoder import Encoder
from tessera.models.inputs import Inputs
from tessera.models.states import States


class Trunk(nn.Module):
    """A model without its heads.

    Args:
        config: of the model.
        run: how its family runs the stacks.
    """

    encoder: Encoder | None
    decoder: Decoder | None

    def __init__(self, config: ModelConfig, run: Callable[[Trunk, Inputs], States]) -> None:
        super().__init__()
        self.config = config
        self._run = run
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
        return self._run(self, inputs)
