"""Hugging Face's form of a model: names, layout and files that `from_pretrained` reads.

Numpy only, and blind to the element type: bfloat16 may come as uint16.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera import errors
from tessera.models.config import GPTConfig
from tessera.text.special import END_OF_TEXT

Array = NDArray[Any]

_TOP = {
    "tokens.weight": "transformer.wte.weight",
    "positions.weight": "transformer.wpe.weight",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "head.weight": "lm_head.weight",
}
_BLOCK = {
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "mlp_norm": "ln_2",
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
}


def huggingface_name(name: str) -> str:
    """GPT-2's name of one of our parameters.

    Raises:
        InvalidArgumentError: no GPT has such a parameter.
    """
    if name in _TOP:
        return _TOP[name]
    parts = name.split(".", 2)
    if len(parts) == 3 and parts[0] == "blocks":  # noqa: PLR2004 - blocks, layer, rest
        inner, _, kind = parts[2].rpartition(".")
        if inner in _BLOCK:
            return f"transformer.h.{parts[1]}.{_BLOCK[inner]}.{kind}"
    raise errors.InvalidArgumentError(
        f"a gpt has no parameter `{name}`", reason="UNKNOWN_PARAMETER"
    )


def to_huggingface(
    config: GPTConfig, tensors: Iterable[tuple[str, Array]], *, end_id: int = 0
) -> tuple[dict[str, Any], dict[str, Array]]:
    """GPT2LMHeadModel's config and tensors.

    Args:
        config: sizes of the model.
        tensors: our names and arrays, of any element type.
        end_id: id of the token that ends a text.

    Returns:
        The content of `config.json`, and arrays by GPT-2's names. Matrices of linear layers are
        transposed: GPT-2 keeps them [in, out].
    """
    converted: dict[str, Array] = {}
    for name, array in tensors:
        linear = name.startswith("blocks.") and array.ndim == 2  # noqa: PLR2004 - a matrix
        converted[huggingface_name(name)] = np.ascontiguousarray(array.T) if linear else array
    return _config_json(config, end_id), converted


def tokenizer_files(tokenizer_json: bytes, context: int) -> dict[str, bytes]:
    """The files beside the weights that make transformers load the tokenizer.

    Args:
        tokenizer_json: the asset of the version.
        context: longest sequence of the model, in tokens.
    """
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    return {
        "tokenizer.json": tokenizer_json,
        "tokenizer_config.json": _dump(config),
        "special_tokens_map.json": _dump(special),
    }


def generation_config(end_id: int) -> bytes:
    """The content of `generation_config.json`."""
    return _dump({"bos_token_id": end_id, "eos_token_id": end_id, "do_sample": True})


def _config_json(config: GPTConfig, end_id: int) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "vocab_size": config.vocab_size,
        "n_positions": config.context,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_embd": config.width,
        "n_inner": config.ff_width,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": end_id,
        "eos_token_id": end_id,
    }


def _dump(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
