"""A small folder of every architecture that can be imported, as `save_pretrained` writes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from roundtrip import randomized
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tessera.models.huggingface.catalog import ARCHITECTURES
from tessera.models.inputs import Inputs

WORDS = 20
_IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_BERT = {
    "vocab_size": WORDS,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
}
_GPT2 = {"vocab_size": WORDS, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16, **_IDS}
_LLAMA = {**_BERT, "num_attention_heads": 4, "num_key_value_heads": 2, **_IDS}
_SEQ2SEQ = {
    "vocab_size": WORDS,
    "d_model": 8,
    "max_position_embeddings": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 10,
    "forced_eos_token_id": 2,
    "decoder_start_token_id": 1,
    **_IDS,
}
NAMES = tuple(ARCHITECTURES)
"""Of the classes."""


def config(name, **fields):
    """The config of a class."""
    if name == "EncoderDecoderModel":
        inner = {"is_decoder": True, "add_cross_attention": True, **fields}
        return hf.EncoderDecoderConfig(
            encoder=hf.BertConfig(**_BERT).to_dict(),
            decoder=hf.GPT2Config(**{**_GPT2, **inner}).to_dict(),
            decoder_start_token_id=1,
            pad_token_id=0,
        )
    for start, kind, sizes in (
        ("Bert", hf.BertConfig, _BERT),
        ("GPT2", hf.GPT2Config, _GPT2),
        ("Llama", hf.LlamaConfig, _LLAMA),
        ("Bart", hf.BartConfig, _SEQ2SEQ),
        ("Marian", hf.MarianConfig, _SEQ2SEQ),
    ):
        if name.startswith(start):
            labels = {"num_labels": 3} if "Classification" in name else {}
            return kind(**{**sizes, **labels, **fields})
    raise AssertionError(name)


def model(name, seed=1, **fields):
    """A model of a class with random weights."""
    torch.manual_seed(seed)
    return randomized(getattr(hf, name)(config(name, **fields)), seed)


def saved(name, folder, seed=1, **fields):
    """Its folder."""
    model(name, seed, **fields).save_pretrained(folder)
    return Path(folder)


def edit(folder, name="config.json", path=(), **changes):
    """Change keys of a JSON file, at its top or within the objects of a path."""
    file = Path(folder) / name
    content = json.loads(file.read_text())
    inner = content
    for part in path:
        inner = inner[part]
    inner.update(changes)
    file.write_text(json.dumps(content))


def tensors(folder):
    """What its weights are."""
    return load_file(Path(folder) / "model.safetensors")


def rewrite(folder, content, metadata=None):
    """Put other tensors in the place of its weights."""
    path = Path(folder) / "model.safetensors"
    whole = {name: tensor.contiguous().clone() for name, tensor in content.items()}
    save_file(whole, path, metadata=metadata or {"format": "pt"})


def metadata(folder):
    """What the header of its weights says beside them."""
    with safe_open(Path(folder) / "model.safetensors", "np") as file:
        return file.metadata()


@torch.inference_mode()
def outputs(module, reference, seed=1):
    """What a model of ours and one of theirs say of the same tokens: two tensors."""
    generator = np.random.default_rng(seed)
    tokens = torch.from_numpy(generator.integers(3, WORDS, (3, 8)))
    written = torch.from_numpy(generator.integers(3, WORDS, (3, 7)))
    ours = module(Inputs(tokens=tokens, decoder_tokens=written))
    both = {"decoder_input_ids": written} if reference.config.is_encoder_decoder else {}
    theirs = reference(input_ids=tokens, attention_mask=torch.ones_like(tokens), **both)
    if ours.vectors is not None:
        return ours.vectors, theirs.last_hidden_state.mean(1)
    if "start_logits" in theirs:
        return ours.logits, torch.stack([theirs.start_logits, theirs.end_logits], dim=-1)
    if "prediction_logits" in theirs:
        return ours.masked, theirs.prediction_logits
    return ours.logits if ours.logits is not None else ours.masked, theirs.logits
