"""GPT: a decoder alone (Radford et al., 2018 and 2019; Llama's choices: Touvron et al., 2023)."""

from __future__ import annotations

from tessera.models.inputs import Inputs
from tessera.models.trunk import States, Trunk


class GPT(Trunk):
    """H = Decoder(x), where place t sees places up to t."""

    def forward(self, inputs: Inputs) -> States:
        """States of the decoder."""
        assert self.decoder is not None
        return States(decoder=self.decoder(inputs.tokens))
