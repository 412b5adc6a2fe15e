"""Named sizes of every family, from those that train in a minute to those that need a cluster."""

from __future__ import annotations

from collections.abc import Mapping

Value = int | float | bool | str

_MODERN: dict[str, Value] = {
    "norm": "rms",
    "positions": "rotary",
    "activation": "swiglu",
    "bias": False,
    "tie_embeddings": False,
}
_LLAMA3: dict[str, Value] = {**_MODERN, "rotary_base": 500000.0}
"""Long texts want slower waves (Grattafiori et al., 2024)."""

_BERT: dict[str, Value] = {"dropout": 0.1, "attention_dropout": 0.1}
"""On all layers, as in Devlin et al. (2018), and on attention's weights, as in their code."""


def _sizes(layers: int, width: int, heads: int, context: int, **rest: Value) -> dict[str, Value]:
    return {"layers": layers, "width": width, "heads": heads, "context": context, **rest}


PRESETS: Mapping[str, Mapping[str, Mapping[str, Value]]] = {
    "transformer": {
        "transformer-tiny": _sizes(2, 128, 4, 128, ff_width=256, dropout=0.1),
        "transformer-small": _sizes(3, 256, 8, 256, ff_width=512, dropout=0.1),
        "transformer-base": _sizes(6, 512, 8, 512, ff_width=2048, dropout=0.1),
        "transformer-big": _sizes(6, 1024, 16, 512, ff_width=4096, dropout=0.3),
    },
    "bert": {
        "bert-tiny": _sizes(2, 128, 2, 512, **_BERT),
        "bert-mini": _sizes(4, 256, 4, 512, **_BERT),
        "bert-small": _sizes(4, 512, 8, 512, **_BERT),
        "bert-medium": _sizes(8, 512, 8, 512, **_BERT),
        "bert-base": _sizes(12, 768, 12, 512, **_BERT),
        "bert-large": _sizes(24, 1024, 16, 512, **_BERT),
    },
    "gpt": {
        "tiny": _sizes(2, 64, 2, 64),
        "mini": _sizes(4, 128, 4, 128),
        "small": _sizes(6, 384, 6, 256),
        "gpt2": _sizes(12, 768, 12, 1024),
        "gpt2-medium": _sizes(24, 1024, 16, 1024),
        "gpt2-large": _sizes(36, 1280, 20, 1024),
        "gpt2-xl": _sizes(48, 1600, 25, 1024),
        "llama-mini": _sizes(4, 256, 8, 512, kv_heads=4, ff_width=704, **_MODERN),
        "llama-1b": _sizes(
            16, 2048, 32, 8192, kv_heads=8, ff_width=8192, **{**_LLAMA3, "tie_embeddings": True}
        ),
        "llama-8b": _sizes(32, 4096, 32, 8192, kv_heads=8, ff_width=14336, **_LLAMA3),
    },
    "bert_gpt": {
        "bert-gpt-tiny": _sizes(2, 128, 4, 128, dropout=0.1),
        "bert-gpt-mini": _sizes(4, 256, 4, 256, dropout=0.1),
        "bert-gpt-small": _sizes(6, 512, 8, 512, dropout=0.1),
        "bert-gpt-base": _sizes(12, 768, 12, 1024, dropout=0.1),
        "bert-gpt-large": _sizes(24, 1024, 16, 1024, dropout=0.1),
        "bert-gpt-1b": _sizes(24, 1280, 20, 2048, dropout=0.1),
        "bert-gpt-10b": _sizes(40, 3072, 24, 2048, dropout=0.1),
        "bert-gpt-100b": _sizes(64, 7680, 60, 2048, dropout=0.1),
    },
}
"""Sizes by name, as keyword arguments of a family's config."""
