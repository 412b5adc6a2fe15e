"""GPT-2 and Llama against transformers: weights in, weights out, the same logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import check, close, few, gpt2_configs, randomized

from tessera.models.inputs import Inputs

pytestmark = pytest.mark.processes


def as_causal(seed, length=8):
    """Compares the logits of every token before the padding."""

    def compare(module, model):
        generator = np.random.default_rng(seed)
        tokens = torch.from_numpy(generator.integers(0, model.config.vocab_size, (3, length)))
        mask = torch.arange(length) < torch.from_numpy(generator.integers(1, length + 1, (3, 1)))
        ours = module(Inputs(tokens=tokens)).logits
        close(ours[mask], model(input_ids=tokens, attention_mask=mask.long()).logits[mask])

    return compare


def as_classifier(seed, length=8):
    """Compares the logits of texts that are filled up with a token that is none of theirs."""

    def compare(module, model):
        generator = np.random.default_rng(seed)
        pad = model.config.pad_token_id
        tokens = torch.from_numpy(generator.integers(0, pad, (3, length)))
        mask = torch.arange(length) < torch.from_numpy(generator.integers(1, length + 1, (3, 1)))
        tokens[~mask] = pad
        ours = module(Inputs(tokens=tokens, mask=mask)).logits
        close(ours, model(input_ids=tokens, attention_mask=mask.long()).logits)

    return compare


@st.composite
def llama_configs(draw, **fixed):
    kv_heads = draw(st.sampled_from([1, 2]))
    heads = kv_heads * draw(st.sampled_from([1, 2, 3]))
    vocab_size = draw(st.integers(5, 40))
    bias = draw(st.booleans())
    return hf.LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=heads * draw(st.sampled_from([2, 4, 8])),
        num_hidden_layers=draw(st.integers(1, 3)),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=draw(st.integers(1, 40)),
        max_position_embeddings=draw(st.integers(8, 20)),
        rms_norm_eps=draw(st.sampled_from([1e-6, 1e-5])),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": draw(st.sampled_from([10000.0, 500000.0])),
        },
        attention_bias=bias,
        mlp_bias=bias,
        attention_dropout=draw(st.sampled_from([0.0, 0.5])),
        **{
            "bos_token_id": vocab_size - 2,
            "eos_token_id": vocab_size - 1,
            "pad_token_id": vocab_size - 1,
            **fixed,
        },
    )


CAUSAL = {
    "GPT2LMHeadModel": (gpt2_configs, as_causal, {}),
    "GPT2ForSequenceClassification": (
        gpt2_configs,
        as_classifier,
        {"num_labels": 3, "eos_token_id": 1},
    ),
    "GPT2ForTokenClassification": (gpt2_configs, as_causal, {"num_labels": 3}),
    "LlamaForCausalLM": (llama_configs, as_causal, {}),
    "LlamaForSequenceClassification": (
        llama_configs,
        as_classifier,
        {"num_labels": 3, "eos_token_id": 1},
    ),
    "LlamaForTokenClassification": (llama_configs, as_causal, {"num_labels": 3}),
}


@pytest.mark.parametrize("name", CAUSAL)
@few(max_examples=4)
@given(data=st.data())
def test_decoders(name, data):
    configs, against, fields = CAUSAL[name]
    tied = data.draw(st.booleans()) if name.endswith(("LMHeadModel", "CausalLM")) else True
    seed = data.draw(st.integers(0, 1000))
    config = data.draw(configs(tie_word_embeddings=tied, **fields))
    model = randomized(getattr(hf, name)(config), seed)
    source, old, new = check(model, against(seed))
    if "Sequence" in name:
        assert not source.config.task.bias
        assert new.pop("problem_type") == "single_label_classification"
        assert old.pop("problem_type") is None
    old["n_inner"] = new.get("n_inner")  # None is written as what it means.
    assert {key: new.get(key) for key in old} == old


@pytest.mark.parametrize(
    ("name", "configs"), [("GPT2Model", gpt2_configs), ("LlamaModel", llama_configs)]
)
@few(max_examples=3)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_decoders_alone_make_vectors(name, configs, data, seed):
    def compare(module, model):
        generator = np.random.default_rng(seed)
        tokens = torch.from_numpy(generator.integers(0, model.config.vocab_size, (3, 8)))
        mean = model(input_ids=tokens).last_hidden_state.mean(1)
        close(module(Inputs(tokens=tokens)).vectors, mean)

    source, _, _ = check(randomized(getattr(hf, name)(data.draw(configs())), seed), compare)
    assert source.config.task.kind == "sentence_embedding"
    assert not [note for note in source.notes if "tokenizer" not in note]
