from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.models.config import ACTIVATIONS, NORM_ORDERS, NORMS, POSITIONS, ModelConfig
from tessera.models.lora_config import LoRAConfig
from tessera.models.registry import FAMILIES, build, family, load_config
from tessera.models.sizes import STACK_SIZES
from tessera.models.task import POOLINGS
from tessera.models.tasks import count_parameters, kind_of


@st.composite
def model_configs(draw, names=tuple(FAMILIES)):
    """Any model of any family for any of its tasks, small."""
    chosen = FAMILIES[draw(st.sampled_from(names))]
    kv_heads = draw(st.sampled_from([1, 2]))
    heads = kv_heads * draw(st.sampled_from([1, 2]))
    sizes = {
        "layers": draw(st.integers(1, 2)),
        "decoder_layers": draw(st.integers(1, 2)),
        "heads": heads,
        "kv_heads": kv_heads,
        "width": heads * draw(st.sampled_from([2, 4])),
        "ff_width": draw(st.sampled_from([0, 5])),
        "attention_dropout": draw(st.sampled_from([0.0, 0.5])),
        "rotary_base": draw(st.sampled_from([10_000.0, 500_000.0])),
        "norm_epsilon": draw(st.sampled_from([1e-12, 1e-5])),
        "context": draw(st.integers(8, 12)),
        "norm": draw(st.sampled_from(NORMS)),
        "norm_order": draw(st.sampled_from(NORM_ORDERS)),
        "positions": draw(st.sampled_from(POSITIONS)),
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        "bias": draw(st.booleans()),
        "tie_embeddings": draw(st.booleans()),
        "share_embeddings": draw(st.booleans()),
    }
    choices = {
        "labels": ("a", "b", "c"),
        "pooling": draw(st.sampled_from(POOLINGS)),
        "pooler": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    task = chosen.task(draw(st.sampled_from(chosen.tasks)), **choices)
    config = chosen.config(sizes, task, vocab_size=13, head_bias=draw(st.booleans()))
    if config.encoder and kind_of(task).translates and not config.share_embeddings:
        config = replace(config, decoder_vocab_size=draw(st.sampled_from([0, 11])))
    return config


@settings(max_examples=40, deadline=None)
@given(config=model_configs())
def test_the_count_of_parameters_is_the_modules(config):
    with torch.device("meta"):
        module = build(config)
    assert count_parameters(config) == sum(p.numel() for p in module.parameters())


@settings(max_examples=20, deadline=None)
@given(
    config=model_configs(),
    lora=st.sampled_from([None, LoRAConfig(rank=2, targets=("mlp.up",))]),
    ids=st.lists(st.integers(0, 12), max_size=3),
)
def test_json_keeps_everything(config, lora, ids):
    config = replace(config, lora=lora, suppress_ids=tuple(ids), mask_id=3)
    assert load_config(config.to_json()) == config
    assert ModelConfig.from_json(config.to_json().encode()) == config


PUBLISHED = {
    ("gpt", "gpt2", 50257): 124_439_808,
    ("gpt", "gpt2-xl", 50257): 1_557_611_200,
    ("gpt", "llama-1b", 128256): 1_235_814_400,
    ("gpt", "llama-8b", 128256): 8_030_261_248,
    ("bert", "bert-base", 30522): 109_514_298,
    ("bert", "bert-large", 30522): 335_174_458,
}
"""(family, preset, vocabulary) of models that others count too."""


@pytest.mark.parametrize("key", PUBLISHED, ids=str)
def test_known_models_have_as_many_as_they_say(key):
    name, preset, vocab_size = key
    chosen = FAMILIES[name]
    config = chosen.config(chosen.presets[preset], vocab_size=vocab_size)
    assert count_parameters(config) == PUBLISHED[key]


@pytest.mark.parametrize(
    ("name", "preset"), [(n, p) for n, f in FAMILIES.items() for p in f.presets]
)
def test_every_preset_can_be_built(name, preset):
    # Layers are all alike: two of each stack stand for eighty.
    sizes = {**FAMILIES[name].presets[preset], "layers": 2, "decoder_layers": 2}
    config = FAMILIES[name].config(sizes, vocab_size=1000)
    with torch.device("meta"):
        module = build(config)
    assert count_parameters(config) == sum(p.numel() for p in module.parameters())
    assert {p.device.type for p in module.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("sizes", "field", "reason"),
    [
        ({"heads": 3, "width": 64}, "model.heads", "HEADS_DO_NOT_DIVIDE_WIDTH"),
        ({"heads": 4, "kv_heads": 3}, "model.kv_heads", "KV_HEADS_DO_NOT_DIVIDE_HEADS"),
        ({"heads": 4, "width": 12, "positions": "rotary"}, "model.positions", "ROTARY_HEAD_ODD"),
        ({"layers": 0}, "model.layers", "INVALID_FIELD"),
        ({"width": -4}, "model.width", "INVALID_FIELD"),
        ({"norm": "batch"}, "model.norm", "UNKNOWN_CHOICE"),
        ({"activation": "tanh"}, "model.activation", "UNKNOWN_CHOICE"),
    ],
)
def test_wrong_sizes_name_their_field(sizes, field, reason):
    assert sizes.keys() <= set(STACK_SIZES)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        FAMILIES["gpt"].config(sizes, vocab_size=300)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field


def test_stacks_of_two_widths_are_refused():
    config = FAMILIES["bert_gpt"].config({}, vocab_size=300)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        replace(config, decoder=replace(config.decoder, width=128))
    assert caught.value.reason == "WIDTHS_DIFFER"


def test_a_task_of_another_family_is_told_whose_it_is():
    for known in FAMILIES.values():
        assert known.task().kind == known.tasks[0] == known.default_task
    with pytest.raises(errors.InvalidArgumentError, match="bert_gpt, transformer") as caught:
        FAMILIES["gpt"].task("translation")
    assert caught.value.reason == "TASK_NOT_FOR_FAMILY"


def test_an_unknown_family_is_told_its_neighbour():
    with pytest.raises(errors.InvalidArgumentError, match="did you mean `gpt`") as caught:
        family("gtp")
    assert caught.value.reason == "UNKNOWN_FAMILY"


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"family": "gpt"}',
        '{"family": "gpt", "vocab_size": 3, "decoder": {"layers": "x"}}',
    ],
)
def test_what_is_no_config_is_refused(text):
    with pytest.raises(errors.InvalidArgumentError):
        load_config(text)


@pytest.mark.processes
@pytest.mark.parametrize(
    "module", ["tessera.models.registry", "tessera.models.huggingface.catalog", "tessera.client"]
)
def test_what_describes_models_loads_no_torch(module):
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'transformers'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
