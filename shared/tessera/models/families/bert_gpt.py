"""BERT-GPT: a bidirectional encoder and a causal decoder that attends to it, trained jointly.

The heads see Encoder(x) + Decoder(x, Encoder(x)) where both read the same sequence. Where the
decoder writes another one, the sum is that of the two losses: adding bidirectional states to what
predicts the next token would show it that token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tessera.models import tasks
from tessera.models.family import Family
from tessera.models.sizes import BERT_ENCODER, sizes
from tessera.models.states import States
from tessera.text import special

if TYPE_CHECKING:
    from tessera.models.inputs import Inputs
    from tessera.models.trunk import Trunk


def run(trunk: Trunk, inputs: Inputs) -> States:
    """H = Encoder(x) + Decoder(x, Encoder(x)), or the two apart.

    Trained jointly the encoder reads twice: with tokens hidden, for its own loss, and whole, for
    the decoder, which will not meet hidden tokens when it serves.
    """
    assert trunk.encoder is not None
    assert trunk.decoder is not None
    memory = trunk.encoder(inputs.tokens, inputs.mask, inputs.segments, inputs.index)
    own = memory
    if inputs.masked_tokens is not None:
        own = trunk.encoder(inputs.masked_tokens, inputs.mask, inputs.segments, inputs.index)
    if not tasks.kind_of(trunk.config.task).translates:
        fused = trunk.decoder(inputs.tokens, memory=memory, memory_mask=inputs.mask)
        return States(read=own + fused)
    if inputs.decoder_tokens is None:
        return States(read=own)
    written = trunk.decoder(inputs.decoder_tokens, memory=memory, memory_mask=inputs.mask)
    return States(read=own, written=written)


FAMILY = Family(
    name="bert_gpt",
    run=run,
    offers=frozenset({tasks.READS, tasks.SEES_ALL, tasks.TRANSLATES}),
    default_task=tasks.JOINT,
    special=special.BERT,
    tokenizer="wordpiece",
    encoder=BERT_ENCODER,
    decoder={},
    pooler=True,
    presets={
        "bert-gpt-tiny": sizes(2, 128, 4, 128, dropout=0.1),
        "bert-gpt-mini": sizes(4, 256, 4, 256, dropout=0.1),
        "bert-gpt-small": sizes(6, 512, 8, 512, dropout=0.1),
        "bert-gpt-base": sizes(12, 768, 12, 1024, dropout=0.1),
        "bert-gpt-large": sizes(24, 1024, 16, 1024, dropout=0.1),
        "bert-gpt-1b": sizes(24, 1280, 20, 2048, dropout=0.1),
        "bert-gpt-10b": sizes(40, 3072, 24, 2048, dropout=0.1),
        "bert-gpt-100b": sizes(64, 7680, 60, 2048, dropout=0.1),
    },
)
