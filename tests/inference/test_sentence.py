"""Vectors of texts: as sentence-transformers makes them of the same folder, and of its export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers as hf
from checkpoints import TEXTS, exported, fast, framed, imported, loaded, vocabulary
from random_sentences import BOUNDS, embedded, sentences
from roundtrip import randomized
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling

from tessera import errors
from tessera.inference.tasks.embed import Embed, Prompt
from tessera.inference.tasks.text_input import TextInput

pytestmark = pytest.mark.processes

WIDTH = 16
KINDS = {
    "wordpiece": {"end": "[SEP]", "start": "[CLS]", "pad": "[PAD]", "mask": "[MASK]",
                  "unknown": "[UNK]"},
    "unigram": {"end": "</t>", "start": "<t>", "pad": "<filler>", "unknown": "<what>"},
    "byte_bpe": {"end": "<|stop|>", "start": "<|go|>", "pad": "<|void|>"},
}  # fmt: skip
ROLES = {"end": "sep_token", "start": "cls_token", "pad": "pad_token", "mask": "mask_token",
         "unknown": "unk_token"}  # fmt: skip


def backbone(folder, kind, *, frame=True, lowercase=False, seed=0, decoder=False):
    """A model of transformers with a tokenizer, in a folder."""
    names = KINDS[kind]
    inner = vocabulary(kind, names, lowercase=lowercase)
    if frame:
        framed(inner, names["start"], names["end"])
    theirs = fast(inner, **{ROLES[role]: name for role, name in names.items()})
    theirs.save_pretrained(folder)
    size = inner.get_vocab_size()
    if decoder:
        config = hf.GPT2Config(vocab_size=size, n_embd=WIDTH, n_layer=2, n_head=2, n_positions=64)
        model = hf.GPT2Model(config)
    else:
        config = hf.BertConfig(
            vocab_size=size, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64, pad_token_id=inner.token_to_id(
                names["pad"]),
        )  # fmt: skip
        model = hf.BertModel(config)
    torch.manual_seed(seed)
    randomized(model, seed).save_pretrained(folder)
    return folder


def compare(folder, again, texts=TEXTS, **asked):
    """Ours against theirs, before and after."""
    version = imported(folder)
    theirs = SentenceTransformer(str(folder), device="cpu")
    prompt = Prompt(name=asked.get("prompt_name"), text=asked.get("prompt"))
    expected = theirs.encode(texts, **asked)
    np.testing.assert_allclose(embedded(loaded(version), texts, prompt), expected, atol=1e-5)
    out = SentenceTransformer(str(exported(version, again)), device="cpu")
    np.testing.assert_allclose(out.encode(texts, **asked), expected, atol=1e-5)
    assert out.max_seq_length == theirs.max_seq_length
    assert out.similarity_fn_name == theirs.similarity_fn_name
    assert {n: t for n, t in out.prompts.items() if t} == {
        n: t for n, t in theirs.prompts.items() if t
    }
    return version


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("prompt", ["", "Instruct: ", "der Hund "])
def test_a_prompt_may_be_a_text(tmp_path, include, prompt):
    pooling = Pooling(WIDTH, "weightedmean", include_prompt=include)
    whole = sentences(
        backbone(tmp_path, "wordpiece"), pooling, prompts={"query": "naïve "},
        default_prompt_name="query",
    )  # fmt: skip
    compare(whole, tmp_path / "out", prompt=prompt)


def test_what_cannot_be_put_before_texts_is_refused(tmp_path):
    whole = sentences(backbone(tmp_path, "unigram"), Pooling(WIDTH), prompts={"query": "a "})
    model = loaded(imported(whole))
    with pytest.raises(errors.InvalidArgumentError, match="it has query, document") as caught:
        embedded(model, TEXTS, Prompt(name="passage"))
    assert caught.value.reason == "UNKNOWN_PROMPT"
    given_tokens = Embed([TextInput(text="a"), TextInput(tokens=(5, 6))], Prompt(name="query"))
    with pytest.raises(errors.InvalidArgumentError) as caught:
        given_tokens.prepare(model, BOUNDS)
    assert caught.value.reason == "PROMPT_BESIDE_TOKENS"
    assert caught.value.violations[0].field == "inputs[1].tokens"
    (text,) = Embed([TextInput(tokens=(5, 6))]).prepare(model, BOUNDS)
    assert text.tokens == (5, 6)


def test_without_the_files_of_sentence_transformers_it_is_read_as_there(tmp_path):
    for kind, decoder in (("wordpiece", False), ("byte_bpe", True)):
        folder = backbone(tmp_path / kind, kind, decoder=decoder)
        compare(folder, tmp_path / f"{kind}-out")


def edit(path, **changes):
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "max"]}, r"not cls \+ max"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Mish"},
         "not torch.nn.modules.activation.Mish"),
        ("2_Dense/config.json", {"activation_function": "mine.Tanh"}, "not mine.Tanh"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
        ("sentence_bert_config.json", {"query_length": 8}, "query_length"),
        ("sentence_bert_config.json", {"modality_config": {"image": {}}}, "modality_config"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "SparseEncoder"),
        ("config_sentence_transformers.json", {"truncate_dim": 4}, "truncate_dim"),
    ],
)  # fmt: skip
def test_what_ours_does_not_do_is_refused_by_its_name(tmp_path, file, changes, said):
    whole = sentences(backbone(tmp_path, "wordpiece"), Pooling(WIDTH), Dense(WIDTH, 4))
    edit(whole / file, **changes)
    with pytest.raises(errors.InvalidArgumentError, match=said) as caught:
        imported(whole)
    assert caught.value.reason == "IMPORT_UNSUPPORTED"


def test_other_modules_are_refused_by_their_names(tmp_path):
    whole = sentences(backbone(tmp_path, "wordpiece"), Pooling(WIDTH), Normalize())
    modules = json.loads((whole / "modules.json").read_text())
    modules[2]["type"] = "sentence_transformers.models.LayerNorm"
    (whole / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(errors.InvalidArgumentError, match="not Transformer, Pooling, LayerNorm"):
        imported(whole)


def test_a_chat_template_through_which_texts_would_go_is_refused(tmp_path):
    whole = sentences(backbone(tmp_path, "byte_bpe", decoder=True), Pooling(WIDTH))
    (whole / "chat_template.jinja").write_text("{{ messages }}")
    edit(whole / "sentence_bert_config.json", modality_config=None)
    with pytest.raises(errors.InvalidArgumentError, match="has a chat template"):
        imported(whole)
    edit(
        whole / "sentence_bert_config.json",
        modality_config={"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        module_output_name="token_embeddings",
    )
    compare(whole, tmp_path / "out")


def test_a_layer_without_its_weights_is_refused(tmp_path):
    whole = sentences(backbone(tmp_path, "wordpiece"), Pooling(WIDTH), Dense(WIDTH, 4))
    (whole / "2_Dense" / "model.safetensors").rename(whole / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(errors.InvalidArgumentError, match="2_Dense") as caught:
        imported(whole)
    assert caught.value.reason == "PICKLED_WEIGHTS"
