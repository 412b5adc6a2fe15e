"""Transformer: a decoder that attends to an encoder (Vaswani et al., 2017)."""

from __future__ import annotations

from tessera.models.inputs import Inputs
from tessera.models.trunk import States, Trunk


class Transformer(Trunk):
    """H = Decoder(y, Encoder(x))."""

    def forward(self, inputs: Inputs) -> States:
        """States of both stacks."""
        assert self.encoder is not None
        assert self.decoder is not None
        assert inputs.decoder_tokens is not None
        memory = self.encoder(inputs.tokens, inputs.mask, inputs.segments, inputs.index)
        written = self.decoder(inputs.decoder_tokens, memory=memory, memory_mask=inputs.mask)
        return States(encoder=memory, decoder=written)
