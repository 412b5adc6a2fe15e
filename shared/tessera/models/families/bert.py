"""BERT: an encoder alone (Devlin et al., 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tessera.models import tasks
from tessera.models.family import Family
from tessera.models.sizes import BERT_ENCODER, Sizes, sizes
from tessera.models.states import States
from tessera.text import special

if TYPE_CHECKING:
    from tessera.models.inputs import Inputs
    from tessera.models.trunk import Trunk

_DROPOUT: Sizes = {"dropout": 0.1, "attention_dropout": 0.1}
"""On all layers, as in the paper, and on attention's weights, as in its code."""


def run(trunk: Trunk, inputs: Inputs) -> States:
    """H = Encoder(x)."""
    assert trunk.encoder is not None
    return States(read=trunk.encoder(inputs.tokens, inputs.mask, inputs.segments, inputs.index))


FAMILY = Family(
    name="bert",
    run=run,
    offers=frozenset({tasks.READS, tasks.SEES_ALL}),
    default_task=tasks.MASKED,
    special=special.BERT,
    tokenizer="wordpiece",
    encoder=BERT_ENCODER,
    pooler=True,
    presets={
        "bert-tiny": sizes(2, 128, 2, 512, **_DROPOUT),
        "bert-mini": sizes(4, 256, 4, 512, **_DROPOUT),
        "bert-small": sizes(4, 512, 8, 512, **_DROPOUT),
        "bert-medium": sizes(8, 512, 8, 512, **_DROPOUT),
        "bert-base": sizes(12, 768, 12, 512, **_DROPOUT),
        "bert-large": sizes(24, 1024, 16, 512, **_DROPOUT),
    },
)
