"""Transformer: a decoder that attends to an encoder (Vaswani et al., 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tessera.models import tasks
from tessera.models.family import Family
from tessera.models.sizes import Sizes, sizes
from tessera.models.states import States
from tessera.text import special

if TYPE_CHECKING:
    from tessera.models.inputs import Inputs
    from tessera.models.trunk import Trunk

_STACK: Sizes = {
    "norm_order": "post",
    "positions": "sinusoidal",
    "activation": "relu",
    "embedding_scale": True,
}
"""How the stacks of the paper differ from the defaults, which are GPT-2's."""


def run(trunk: Trunk, inputs: Inputs) -> States:
    """H = Decoder(y, Encoder(x))."""
    assert trunk.encoder is not None
    assert trunk.decoder is not None
    assert inputs.decoder_tokens is not None
    memory = trunk.encoder(inputs.tokens, inputs.mask, inputs.segments, inputs.index)
    written = trunk.decoder(inputs.decoder_tokens, memory=memory, memory_mask=inputs.mask)
    return States(written=written)


FAMILY = Family(
    name="transformer",
    run=run,
    offers=frozenset({tasks.TRANSLATES}),
    default_task=tasks.TRANSLATION,
    special=special.SEQ2SEQ,
    starts=False,
    encoder=_STACK,
    decoder=_STACK,
    share_embeddings=True,
    presets={
        "transformer-tiny": sizes(2, 128, 4, 128, ff_width=256, dropout=0.1),
        "transformer-small": sizes(3, 256, 8, 256, ff_width=512, dropout=0.1),
        "transformer-base": sizes(6, 512, 8, 512, ff_width=2048, dropout=0.1),
        "transformer-big": sizes(6, 1024, 16, 512, ff_width=4096, dropout=0.3),
    },
)
