"""Adapters of PEFT, merged into their bases as PEFT merges them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers as hf
from peft import LoraConfig, PeftModel, get_peft_model
from roundtrip import close, load
from safetensors.torch import load_file, save_file

from tessera import errors
from tessera.client import checked_folder
from tessera.models.inputs import Inputs

pytestmark = pytest.mark.processes

hf.logging.set_verbosity_error()

BASES = {
    "gpt2": lambda **fields: hf.GPT2LMHeadModel(
        hf.GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2, n_positions=16,
                      bos_token_id=1, eos_token_id=2, **fields)
    ),
    "llama": lambda **fields: hf.LlamaForCausalLM(
        hf.LlamaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=4,
                       num_key_value_heads=2, intermediate_size=12, max_position_embeddings=16,
                       **fields)
    ),
    "classes": lambda **fields: hf.BertForSequenceClassification(
        hf.BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                      intermediate_size=12, max_position_embeddings=16, num_labels=3, **fields)
    ),
    "bart": lambda **fields: hf.BartForConditionalGeneration(
        hf.BartConfig(vocab_size=20, d_model=8, max_position_embeddings=16, encoder_layers=1,
                      decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
                      encoder_ffn_dim=12, decoder_ffn_dim=12, **fields)
    ),
}  # fmt: skip

CASES = {
    "conv1d": ("gpt2", {}, {"target_modules": ["c_attn"], "task_type": "CAUSAL_LM"}),
    "conv1d-square": ("gpt2", {}, {"target_modules": ["attn.c_proj", "c_fc"], "r": 2}),
    "fan-in-fan-out": ("gpt2", {}, {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "rslora": ("llama", {}, {"target_modules": "all-linear", "use_rslora": True}),
    "patterns": (
        "llama",
        {},
        {
            "target_modules": ["q_proj", "v_proj", "down_proj"],
            "rank_pattern": {"v_proj": 3, r"layers\.1\.mlp\.down_proj": 5},
            "alpha_pattern": {"q_proj": 40},
        },
    ),
    "some-layers": ("llama", {}, {"target_modules": ["k_proj"], "layers_to_transform": [1]}),
    "bias": ("gpt2", {}, {"target_modules": ["c_fc"], "bias": "all"}),
    "saved-head": (
        "llama",
        {},
        {"target_modules": ["o_proj"], "modules_to_save": ["lm_head"]},
    ),
    "saved-tied-head": (
        "gpt2",
        {},
        {"target_modules": ["c_attn"], "modules_to_save": ["lm_head"]},
    ),
    "saved-norm": ("gpt2", {}, {"target_modules": ["c_attn"], "modules_to_save": ["ln_f"]}),
    "classes": ("classes", {}, {"target_modules": ["query", "value"], "task_type": "SEQ_CLS"}),
    "embedding": (
        "llama",
        {"tie_word_embeddings": False},
        {"target_modules": ["embed_tokens", "q_proj"]},
    ),
    "seq2seq": (
        "bart",
        {},
        {"target_modules": ["q_proj", "fc1"], "task_type": "SEQ_2_SEQ_LM"},
    ),
}


def made(folder, name, fields, settings, dtype=torch.float32):
    """Save a base and an adapter with random weights; returns the model that PEFT has."""
    base, adapter = folder / "base", folder / "adapter"
    torch.manual_seed(7)
    model = BASES[name](**fields).to(dtype)
    model.save_pretrained(base)
    model.name_or_path = str(base)
    peft = get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 6, **settings}))
    with torch.no_grad():
        for key, parameter in peft.named_parameters():
            if parameter.requires_grad or "lora_" in key:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    peft.save_pretrained(adapter)
    return PeftModel.from_pretrained(type(model).from_pretrained(base), adapter).eval()


@torch.inference_mode()
def compare(module, model):
    tokens = torch.from_numpy(np.random.default_rng(1).integers(0, 20, (3, 8)))
    ours = module(Inputs(tokens=tokens, decoder_tokens=tokens)).logits
    both = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
    close(ours, model(input_ids=tokens, attention_mask=torch.ones_like(tokens), **both).logits)


@pytest.mark.parametrize("case", CASES)
def test_it_is_merged_as_peft_merges_it(tmp_path, case):
    reference = made(tmp_path, *CASES[case])
    source = checked_folder.read(tmp_path / "adapter")
    module, _ = load(source)
    compare(module, reference)
    compare(module, reference.merge_and_unload())
    assert not [note for note in source.notes if "adapter" in note]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_base_stays_narrow_with_the_bits_of_peft(tmp_path, dtype):
    settings = {"target_modules": ["c_attn", "c_proj"]}
    reference = made(tmp_path, "gpt2", {}, settings, dtype).merge_and_unload()
    source = checked_folder.read(tmp_path / "adapter")
    assert source.dtype == {torch.bfloat16: "BF16", torch.float16: "F16"}[dtype]
    for name, part in source.parts.items():
        ours = torch.from_numpy(np.array(part.read())).view(dtype)
        assert torch.equal(ours, reference.state_dict()[name]), name


def test_a_base_is_named_where_the_adapter_names_none_that_is_here(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    reference = made(tmp_path, *CASES["conv1d"])
    base.rename(tmp_path / "moved")
    with pytest.raises(errors.FailedPreconditionError, match="merge_and_unload") as caught:
        checked_folder.read(adapter)
    assert caught.value.reason == "ADAPTER_WITHOUT_BASE"
    assert "--base" in str(caught.value)
    edit(adapter, base_model_name_or_path=None)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        checked_folder.read(adapter)
    assert caught.value.reason == "ADAPTER_WITHOUT_BASE"
    compare(load(checked_folder.read(adapter, str(tmp_path / "moved")))[0], reference)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        checked_folder.read(tmp_path / "moved", str(adapter))
    assert caught.value.reason == "BASE_OF_NO_ADAPTER"


def edit(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        ({"use_dora": True}, "use_dora"),
        ({"lora_bias": True}, "lora_bias"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS"),
        ({"task_type": "SOMETHING"}, "SOMETHING"),
    ],
    ids=str,
)
def test_what_is_not_merged_here_is_refused_with_a_way_out(tmp_path, changes, match):
    made(tmp_path, *CASES["conv1d"])
    edit(tmp_path / "adapter", **changes)
    with pytest.raises(errors.InvalidArgumentError, match=match) as caught:
        checked_folder.read(tmp_path / "adapter")
    assert caught.value.reason == "IMPORT_UNSUPPORTED"
    assert "merge_and_unload" in str(caught.value)


def test_an_unknown_key_of_an_adapter_is_named(tmp_path):
    made(tmp_path, *CASES["conv1d"])
    edit(tmp_path / "adapter", new_kind_of_scale=3)
    (tmp_path / "adapter" / "extra.bin").write_bytes(b"?")
    notes = checked_folder.read(tmp_path / "adapter").notes
    assert any("new_kind_of_scale 3" in note for note in notes)
    assert any("extra.bin" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        (
            "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
            (4, 6),
            "INVALID_CHECKPOINT",
        ),
        (
            "base_model.model.transformer.h.7.attn.c_attn.lora_A.weight",
            (4, 8),
            "IMPORT_UNSUPPORTED",
        ),
        (
            "base_model.model.transformer.h.0.attn.c_attn.lora_C.weight",
            (4, 8),
            "IMPORT_UNSUPPORTED",
        ),
    ],
)
def test_a_tensor_that_fits_nothing_is_refused(tmp_path, name, shape, reason):
    made(tmp_path, *CASES["conv1d"])
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({**load_file(path), name: torch.ones(shape)}, path)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        checked_folder.read(tmp_path / "adapter")
    assert caught.value.reason == reason


def test_half_of_an_adapter_is_refused_with_its_name(tmp_path):
    made(tmp_path, *CASES["conv1d"])
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    del tensors["base_model.model.transformer.h.1.attn.c_attn.lora_B.weight"]
    save_file(tensors, path)
    with pytest.raises(errors.InvalidArgumentError, match=r"one for `transformer\.h\.1") as caught:
        checked_folder.read(tmp_path / "adapter")
    assert caught.value.reason == "IMPORT_UNSUPPORTED"


@pytest.mark.parametrize(
    "changes", [{"lora_alpha": "x"}, {"alpha_pattern": {"(": 3}}, {"alpha_pattern": [1]}], ids=str
)
def test_a_config_that_makes_no_sense_is_refused(tmp_path, changes):
    made(tmp_path, *CASES["conv1d"])
    edit(tmp_path / "adapter", **changes)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        checked_folder.read(tmp_path / "adapter")
    assert caught.value.reason == "INVALID_CHECKPOINT"


def test_an_adapter_of_a_tied_embedding_is_refused(tmp_path):
    settings = {"target_modules": ["wte"]}
    made(tmp_path, "gpt2", {}, settings)
    with pytest.raises(errors.InvalidArgumentError, match="tied"):
        checked_folder.read(tmp_path / "adapter")


def test_an_adapter_in_a_pickle_is_refused(tmp_path):
    made(tmp_path, *CASES["conv1d"])
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(errors.InvalidArgumentError) as caught:
        checked_folder.read(tmp_path / "adapter")
    assert caught.value.reason == "PICKLED_WEIGHTS"
    path.with_suffix(".bin").unlink()
    with pytest.raises(errors.NotFoundError) as caught:
        checked_folder.read(tmp_path / "adapter")
    assert caught.value.reason == "NOT_A_CHECKPOINT"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}),
        ("gpt2", {"target_modules": ["c_attn"]}),
    ],
)
def test_tokens_may_have_been_added(tmp_path, name, settings):
    torch.manual_seed(7)
    model = BASES[name]()
    model.save_pretrained(tmp_path / "base")
    model.resize_token_embeddings(23)
    model.name_or_path = str(tmp_path / "base")
    peft = get_peft_model(model, LoraConfig(r=4, **settings))
    with torch.no_grad():
        for parameter in peft.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    peft.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    source = checked_folder.read(tmp_path / "adapter")
    assert source.config.vocab_size == 23
    compare(load(source)[0], peft.eval())
