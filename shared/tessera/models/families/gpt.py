"""GPT: a decoder alone (Radford et al., 2018 and 2019; Llama's choices: Touvron et al., 2023)."""

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

_MODERN: Sizes = {
    "norm": "rms",
    "positions": "rotary",
    "activation": "swiglu",
    "bias": False,
    "tie_embeddings": False,
}
_LLAMA3: Sizes = {**_MODERN, "rotary_base": 500000.0}
"""Long texts want slower waves (Grattafiori et al., 2024)."""


def run(trunk: Trunk, inputs: Inputs) -> States:
    """H = Decoder(x), where place t sees places up to t."""
    assert trunk.decoder is not None
    states = trunk.decoder(inputs.tokens)
    return States(read=states, written=states)


FAMILY = Family(
    name="gpt",
    run=run,
    offers=frozenset({tasks.READS, tasks.CONTINUES}),
    default_task=tasks.LANGUAGE,
    special=special.GPT,
    decoder={},
    pooling="last",
    bias=False,
    presets={
        "tiny": sizes(2, 64, 2, 64),
        "mini": sizes(4, 128, 4, 128),
        "small": sizes(6, 384, 6, 256),
        "gpt2": sizes(12, 768, 12, 1024),
        "gpt2-medium": sizes(24, 1024, 16, 1024),
        "gpt2-large": sizes(36, 1280, 20, 1024),
        "gpt2-xl": sizes(48, 1600, 25, 1024),
        "llama-mini": sizes(4, 256, 8, 512, kv_heads=4, ff_width=704, **_MODERN),
        "llama-1b": sizes(
            16, 2048, 32, 8192, kv_heads=8, ff_width=8192, **{**_LLAMA3, "tie_embeddings": True}
        ),
        "llama-8b": sizes(32, 4096, 32, 8192, kv_heads=8, ff_width=14336, **_LLAMA3),
    },
)
