"""Sizes and choices of models as specs state them, by their names."""

from __future__ import annotations

from collections.abc import Mapping

Value = int | float | bool | str
Sizes = Mapping[str, Value]

STACK_SIZES = (
    "layers",
    "heads",
    "kv_heads",
    "width",
    "ff_width",
    "context",
    "dropout",
    "attention_dropout",
    "norm",
    "norm_order",
    "norm_epsilon",
    "positions",
    "rotary_base",
    "activation",
    "bias",
)
"""What a spec may say of the stacks; it holds for both where there are two."""

SIZES = (*STACK_SIZES, "decoder_layers", "tie_embeddings", "share_embeddings")
"""What a spec may say of a model."""

BERT_ENCODER: Sizes = {
    "norm_order": "post",
    "activation": "gelu",
    "norm_epsilon": 1e-12,
    "embedding_norm": True,
    "segments": 2,
}
"""How BERT differs from the defaults of a stack, which are GPT-2's."""


def sizes(layers: int, width: int, heads: int, context: int, **rest: Value) -> Sizes:
    """A preset."""
    return {"layers": layers, "width": width, "heads": heads, "context": context, **rest}
