from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.models.inputs import Inputs
from tessera.models.lora_config import LoRAConfig
from tessera.models.merge import _floats, _like, merge
from tessera.models.registry import FAMILIES, build

SIZES = {"layers": 2, "heads": 2, "width": 8, "context": 16}


def adapted(family, dtype=torch.float32):
    lora = LoRAConfig(rank=2, alpha=6.0, targets=("attention.qkv", "cross.kv", "mlp.down"))
    torch.manual_seed(1)
    module = build(FAMILIES[family].config(SIZES, vocab_size=20, lora=lora)).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("lora_b"):
                parameter.normal_(std=0.5)
    return module.to(dtype)


def arrays_of(module):
    kind = torch.uint16 if next(module.parameters()).dtype == torch.bfloat16 else None
    tensors = {name: p.detach() for name, p in module.named_parameters()}
    return {name: (t.view(kind) if kind else t).numpy() for name, t in tensors.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_merged_model_does_the_same_without_adapters(family):
    module = adapted(family)
    config, arrays = merge(module.config, arrays_of(module))
    assert config.lora is None
    plain = build(config).eval()
    own = dict(plain.named_parameters())
    assert own.keys() == arrays.keys()
    tokens = torch.randint(0, 20, (2, 9))
    with torch.inference_mode():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(arrays[name]))
        for found, expected in zip(
            plain(Inputs(tokens=tokens, decoder_tokens=tokens)),
            module(Inputs(tokens=tokens, decoder_tokens=tokens)),
            strict=True,
        ):
            if expected is not None:
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_an_adapter_beside_an_embedding_cannot_be_merged():
    lora = LoRAConfig(rank=2, targets=("language.projection",))
    module = build(FAMILIES["gpt"].config(SIZES, vocab_size=20, lora=lora))
    with pytest.raises(errors.FailedPreconditionError, match="embedding") as caught:
        merge(module.config, arrays_of(module))
    assert caught.value.reason == "EXPORT_UNSUPPORTED"


def test_bfloat16_is_rounded_once():
    module = adapted("gpt", torch.bfloat16)
    _, arrays = merge(module.config, arrays_of(module))
    layer = module.trunk.decoder.blocks[0].attention.qkv
    exact = layer.weight.float() + layer.scale * (layer.lora_b.float() @ layer.lora_a.float())
    found = torch.from_numpy(arrays["trunk.decoder.blocks.0.attention.qkv.weight"])
    torch.testing.assert_close(found.view(torch.bfloat16).float(), exact, atol=0, rtol=2**-8)


def test_a_model_without_adapters_is_left_as_it_is():
    config = FAMILIES["bert"].config(SIZES, vocab_size=20)
    arrays = {"a": np.zeros(1)}
    assert merge(config, arrays) == (config, arrays)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_rounding_to_bfloat16_is_torchs(values):
    array = np.array(values, np.float32)
    expected = torch.from_numpy(array).to(torch.bfloat16)
    found = _like(array, np.zeros(1, np.uint16))
    np.testing.assert_array_equal(found, expected.view(torch.uint16).numpy())
    np.testing.assert_array_equal(_floats(found), expected.float().numpy())
