from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tessera import errors
from tessera.models.config import GPTConfig
from tessera.models.gpt import GPT
from tessera.models.huggingface import (
    generation_config,
    huggingface_name,
    to_huggingface,
    tokenizer_files,
)
from tessera.text.tokenizer import train_byte_bpe

SIZES = {"vocab_size": 300, "layers": 3, "heads": 4, "width": 32, "ff_width": 80, "context": 24}


def model(**changes):
    torch.manual_seed(1)
    module = GPT(GPTConfig(**{**SIZES, **changes})).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module


def exported(module, folder):
    arrays = [(name, p.detach().numpy()) for name, p in module.named_parameters()]
    config, tensors = to_huggingface(module.config, arrays)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_transformers(tied, tmp_path):
    module = model(tie_embeddings=tied)
    theirs = AutoModelForCausalLM.from_pretrained(exported(module, tmp_path / "m")).eval()
    tokens = torch.randint(0, 300, (2, 24))
    with torch.no_grad():
        torch.testing.assert_close(module(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


def test_the_exported_tokenizer_gives_equal_ids(tmp_path):
    texts = ["def f(x):\n    return x\n" * 30, "naïve 日本 🙂"]
    tokenizer = train_byte_bpe(iter(texts), 300)
    for name, content in tokenizer_files(tokenizer.to_json(), 24).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "generation_config.json").write_bytes(generation_config(tokenizer.end_id))
    theirs = AutoTokenizer.from_pretrained(exported(model(), tmp_path))
    for text in [*texts, "  two spaces\n\n\tand <|endoftext|> as text"]:
        assert theirs(text)["input_ids"] == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    assert theirs.eos_token_id == tokenizer.end_id


def test_any_element_type_is_converted_bit_for_bit():
    array = np.arange(32 * 96, dtype=np.uint16).reshape(96, 32)
    _, tensors = to_huggingface(GPTConfig(**SIZES), [("blocks.0.attention.qkv.weight", array)])
    found = tensors["transformer.h.0.attn.c_attn.weight"]
    assert found.dtype == np.uint16
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, array.T)


def test_a_stranger_among_the_names_is_refused():
    with pytest.raises(errors.InvalidArgumentError):
        huggingface_name("blocks.0.attention.rotary.weight")


def test_attention_looks_back_only():
    module = model()
    tokens = torch.randint(0, 300, (1, 24))
    changed = tokens.clone()
    changed[0, 12:] = (changed[0, 12:] + 1) % 300
    with torch.no_grad():
        before, after = module(tokens), module(changed)
    torch.testing.assert_close(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


def test_a_cache_behind_attend_gives_the_same_logits():
    module = model()
    tokens = torch.randint(0, 300, (2, 10))
    cache: dict[int, list[torch.Tensor]] = {}

    def attend(layer, q, k, v):
        old = cache.get(layer)
        cache[layer] = (
            [k, v]
            if old is None
            else [torch.cat([o, n], 2) for o, n in zip(old, (k, v), strict=True)]
        )
        return torch.nn.functional.scaled_dot_product_attention(q, *cache[layer])

    with torch.no_grad():
        whole = module(tokens)
        for step in range(10):
            positions = torch.full((2, 1), step)
            one = module(tokens[:, step : step + 1], positions, attend)
            torch.testing.assert_close(one[:, 0], whole[:, step], atol=1e-5, rtol=1e-5)


def test_a_new_model_is_nearly_indifferent():
    torch.manual_seed(0)
    module = GPT(GPTConfig(**SIZES))
    tokens, others = torch.randint(0, 300, (2, 4, 24))
    loss = torch.nn.functional.cross_entropy(module(tokens).flatten(0, 1), others.flatten())
    assert abs(loss.item() - np.log(300)) < 0.3
