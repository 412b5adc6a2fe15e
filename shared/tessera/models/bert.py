"""BERT: an encoder alone (Devlin et al., 2018)."""

from __future__ import annotations

from tessera.models.inputs import Inputs
from tessera.models.trunk import States, Trunk


class BERT(Trunk):
    """H = Encoder(x)."""

    def forward(self, inputs: Inputs) -> States:
        """States of the encoder."""
        assert self.encoder is not None
        return States(
            encoder=self.encoder(inputs.tokens, inputs.mask, inputs.segments, inputs.index)
        )
