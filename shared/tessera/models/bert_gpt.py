"""BERT-GPT: a bidirectional encoder and a causal decoder that attends to it, trained jointly.

The heads see Encoder(x) + Decoder(x, Encoder(x)) where both read the same sequence. Where the
decoder writes another one, the sum is that of the two losses: adding bidirectional states to what
predicts the next token would show it that token.
"""

from __future__ import annotations

from tessera.models.config import ModelConfig
from tessera.models.inputs import Inputs
from tessera.models.trunk import States, Trunk


class BERTGPT(Trunk):
    """H = Encoder(x) + Decoder(x, Encoder(x)), or the two apart."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self._apart = config.task.translates

    def forward(self, inputs: Inputs) -> States:
        """States of both stacks.

        Trained jointly the encoder reads twice: with tokens hidden, for its own loss, and whole,
        for the decoder, which will not meet hidden tokens when it serves.
        """
        assert self.encoder is not None
        assert self.decoder is not None
        memory = self.encoder(inputs.tokens, inputs.mask, inputs.segments, inputs.index)
        own = memory
        if inputs.masked_tokens is not None:
            own = self.encoder(inputs.masked_tokens, inputs.mask, inputs.segments, inputs.index)
        if self._apart:
            if inputs.decoder_tokens is None:
                return States(encoder=own)
            tokens = inputs.decoder_tokens
        else:
            tokens = inputs.tokens
        written = self.decoder(tokens, memory=memory, memory_mask=inputs.mask)
        return States(encoder=own, decoder=written)
