"""Models that were made here, loaded by transformers and sentence-transformers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer

from tessera import errors
from tessera.models.huggingface.catalog import choose
from tessera.models.huggingface.files import files
from tessera.models.inputs import Inputs
from tessera.models.registry import FAMILIES, build
from tessera.models.tasks import kind_of
from tessera.text import special
from tessera.text.tokenizer import Tokenizer
from tessera.text.training import train

pytestmark = pytest.mark.processes

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

TEXTS = ["the cat sat on the mat", "a dog barked at the cat", "naïve dogs sat, and the mat lay"]
SIZES = {"layers": 2, "heads": 2, "width": 16, "context": 32}
MODERN = {
    "norm": "rms",
    "positions": "rotary",
    "activation": "swiglu",
    "bias": False,
    "kv_heads": 1,
}
LABELS = ("no", "yes", "perhaps")
TOKENIZERS = {
    "bert": ("wordpiece", special.BERT),
    "bert_gpt": ("wordpiece", special.BERT),
    "gpt": ("byte_bpe", special.GPT),
    "transformer": ("unigram", special.SEQ2SEQ),
}

CASES = [
    ("bert", "masked_language_modeling", {}, "BertForMaskedLM", hf.AutoModelForMaskedLM),
    (
        "bert",
        "masked_language_modeling",
        {"tie_embeddings": False},
        "BertForMaskedLM",
        hf.AutoModelForMaskedLM,
    ),
    (
        "bert",
        "classification",
        {},
        "BertForSequenceClassification",
        hf.AutoModelForSequenceClassification,
    ),
    (
        "bert",
        "sentiment",
        {},
        "BertForSequenceClassification",
        hf.AutoModelForSequenceClassification,
    ),
    (
        "bert",
        "token_classification",
        {},
        "BertForTokenClassification",
        hf.AutoModelForTokenClassification,
    ),
    (
        "bert",
        "question_answering",
        {},
        "BertForQuestionAnswering",
        hf.AutoModelForQuestionAnswering,
    ),
    ("bert", "sentence_embedding", {}, "BertModel", hf.AutoModel),
    ("gpt", "language_modeling", {}, "GPT2LMHeadModel", hf.AutoModelForCausalLM),
    ("gpt", "language_modeling", MODERN, "LlamaForCausalLM", hf.AutoModelForCausalLM),
    (
        "gpt",
        "classification",
        {},
        "GPT2ForSequenceClassification",
        hf.AutoModelForSequenceClassification,
    ),
    (
        "gpt",
        "sentiment",
        MODERN,
        "LlamaForSequenceClassification",
        hf.AutoModelForSequenceClassification,
    ),
    (
        "gpt",
        "token_classification",
        {},
        "GPT2ForTokenClassification",
        hf.AutoModelForTokenClassification,
    ),
    ("gpt", "sentence_embedding", {}, "GPT2Model", hf.AutoModel),
    ("transformer", "translation", {}, "MarianMTModel", hf.AutoModelForSeq2SeqLM),
    (
        "transformer",
        "translation",
        {"share_embeddings": False},
        "MarianMTModel",
        hf.AutoModelForSeq2SeqLM,
    ),
    (
        "transformer",
        "translation",
        {"tie_embeddings": False},
        "MarianMTModel",
        hf.AutoModelForSeq2SeqLM,
    ),
    (
        "transformer",
        "summarization",
        {"tie_embeddings": False, "share_embeddings": False},
        "MarianMTModel",
        hf.AutoModelForSeq2SeqLM,
    ),
    ("bert_gpt", "joint", {}, "EncoderDecoderModel", hf.AutoModelForSeq2SeqLM),
    (
        "bert_gpt",
        "translation",
        {"tie_embeddings": False},
        "EncoderDecoderModel",
        hf.AutoModelForSeq2SeqLM,
    ),
]
"""Family, task, choices; the class of transformers, and the Auto class that must find it."""

NOTED = {"BertModel", "GPT2ForSequenceClassification", "LlamaForSequenceClassification"}
"""Classes that do something otherwise than ours."""


@pytest.fixture(scope="module")
def tokenizer():
    """Makes the tokenizer that a job of a family would train."""
    found = {}

    def make(family):
        if family not in found:
            kind, names = TOKENIZERS[family]
            found[family] = train(kind, iter(TEXTS * 20), 300, names)
        return found[family]

    return make


def made(family, kind, sizes, tokenizer):
    chosen = FAMILIES[family]
    labels = {"labels": LABELS} if "classification" in kind or kind == "sentiment" else {}
    task = chosen.task(kind, **labels)
    config = chosen.config({**SIZES, **sizes}, task, vocab_size=tokenizer.vocab_size)
    config = replace(
        config,
        start_id=tokenizer.start_id,
        end_id=tokenizer.end_id,
        pad_id=tokenizer.pad_id,
        mask_id=-1 if tokenizer.mask_id is None else tokenizer.mask_id,
    )
    torch.manual_seed(3)
    module = build(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module


def exported(module, tokenizer, folder):
    config, arrays = module.config, {n: p.detach().numpy() for n, p in module.named_parameters()}
    architecture = choose(config)
    for name, content in files(architecture, config, tokenizer.to_json(), "float32").items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    tensors = architecture.plan(config).to_theirs(arrays)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return list(architecture.notes(config))


@pytest.mark.parametrize(("family", "kind", "sizes", "name", "auto"), CASES)
def test_auto_classes_load_it_with_its_tokenizer(  # noqa: PLR0917 - a case
    family, kind, sizes, name, auto, tokenizer, tmp_path
):
    own = tokenizer(family)
    module = made(family, kind, sizes, own)
    notes = exported(module, own, tmp_path)
    model, info = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(model).__name__ == name
    assert not any(info.values()), info
    assert bool(notes) == (name in NOTED or kind == "joint")

    theirs = hf.AutoTokenizer.from_pretrained(tmp_path)
    batch = theirs(TEXTS, padding=True, truncation=True)
    for text, ids, mask in zip(TEXTS, batch["input_ids"], batch["attention_mask"], strict=True):
        real = [token for token, shown in zip(ids, mask, strict=True) if shown]
        assert real == framed(module.config, own, text)
    inputs = theirs(TEXTS[0], return_tensors="pt")
    compare(module.eval(), model.eval(), inputs)


def framed(config, tokenizer, text):
    """What training feeds to a model."""
    ids = tokenizer.encode(text)
    if config.family == "transformer":
        return [*ids, tokenizer.end_id]
    if config.task.kind == "language_modeling":
        return ids
    return [tokenizer.start_id, *ids, tokenizer.end_id]


@torch.inference_mode()
def compare(module, model, inputs):
    tokens = inputs["input_ids"]
    written = tokens[:, :5] % module.config.target_vocab_size
    found = module(Inputs(tokens=tokens, decoder_tokens=written))
    if module.config.encoder is not None and module.config.decoder is not None:
        inputs = {**inputs, "decoder_input_ids": written}
    theirs = model(**inputs)
    if "start_logits" in theirs:
        expected = torch.stack([theirs.start_logits, theirs.end_logits], dim=-1)
    else:
        expected = theirs.logits if "logits" in theirs else None
    ours = found.logits if kind_of(module.config.task).head_names[-1] != "masked" else found.masked
    if expected is None:  # Vectors: sentence-transformers below.
        assert ours is None
        return
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt"])
@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_sentence_transformers_give_equal_vectors(family, pooling, tokenizer, tmp_path):
    own = tokenizer(family)
    module = made(family, "sentence_embedding", {}, own)
    task = replace(module.config.task, pooling=pooling, normalize=pooling != "last")
    torch.manual_seed(4)
    module = build(replace(module.config, task=task)).eval()
    exported(module, own, tmp_path)
    theirs = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS, batch_size=1)
    for text, expected in zip(TEXTS, theirs, strict=True):
        with torch.inference_mode():
            found = module(Inputs(tokens=torch.tensor([framed(module.config, own, text)])))
        np.testing.assert_allclose(found.vectors[0].numpy(), expected, atol=1e-5)


def test_a_special_token_in_a_text_is_text_to_a_gpt_and_a_mask_to_a_bert(tokenizer, tmp_path):
    for family in ("gpt", "bert"):
        (tmp_path / family).mkdir()
        exported(made(family, "", {}, tokenizer(family)), tokenizer(family), tmp_path / family)
    gpt = hf.AutoTokenizer.from_pretrained(tmp_path / "gpt")
    text = "  two spaces\n\n\tand <|endoftext|> as text"
    assert gpt(text)["input_ids"] == tokenizer("gpt").encode(text)
    assert gpt.decode(gpt(text)["input_ids"]) == text
    bert = hf.AutoTokenizer.from_pretrained(tmp_path / "bert")
    assert bert.mask_token_id in bert("the [MASK] sat")["input_ids"]
    assert bert.mask_token_id == tokenizer("bert").mask_id


def test_a_translation_begins_and_ends_as_trained(tokenizer, tmp_path):
    own = tokenizer("transformer")
    module = made("transformer", "translation", {}, own)
    module.config = replace(module.config, suppress_ids=(own.pad_id, 7))
    exported(module, own, tmp_path)
    model = hf.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    settings = model.generation_config
    assert settings.decoder_start_token_id == module.config.first_id == own.start_id
    assert settings.eos_token_id == own.end_id
    inputs = hf.AutoTokenizer.from_pretrained(tmp_path)(TEXTS[0], return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=12, num_beams=2)[0].tolist()
    assert ids[0] == own.start_id
    assert not {own.pad_id, 7} & set(ids[1:])


def test_any_element_type_is_moved_bit_for_bit():
    config = FAMILIES["gpt"].config({"layers": 1, "heads": 2, "width": 4}, vocab_size=5)
    plan = choose(config).plan(config)
    with torch.device("meta"):
        shapes = {name: p.shape for name, p in build(config).named_parameters()}
    arrays = {
        name: np.random.default_rng(1).integers(0, 65536, shape).astype(np.uint16)
        for name, shape in shapes.items()
    }
    found = plan.to_theirs(arrays)
    assert {array.dtype for array in found.values()} == {np.dtype(np.uint16)}
    assert all(array.flags.c_contiguous for array in found.values())
    name = "trunk.decoder.blocks.0.attention.qkv.weight"
    np.testing.assert_array_equal(found["transformer.h.0.attn.c_attn.weight"], arrays[name].T)
    for entry in plan.entries:
        back = np.concatenate([entry.from_theirs(found[part]) for part in entry.theirs])
        np.testing.assert_array_equal(back, arrays[entry.ours])


@pytest.mark.parametrize(
    ("family", "kind", "changes", "field"),
    [
        ("transformer", "", {"positions": "rotary"}, "model.encoder.positions"),
        ("transformer", "", {"norm_order": "pre"}, "model.encoder.norm_order"),
        ("bert_gpt", "masked_language_modeling", {}, "task.kind"),
        ("bert_gpt", "classification", {}, "task.kind"),
        ("bert", "", {"positions": "rotary"}, "model.encoder.positions"),
        ("bert", "classification", {"pooling": "mean"}, "task.pooling"),
        ("gpt", "", {"norm": "rms"}, "model.decoder.norm"),
        ("gpt", "", {"norm_order": "post"}, "model.decoder.norm_order"),
        ("gpt", "classification", {"pooler": True}, "task.pooler"),
    ],
)
def test_what_transformers_does_not_have_is_named(family, kind, changes, field):
    chosen = FAMILIES[family]
    of_task = {name: value for name, value in changes.items() if name in {"pooling", "pooler"}}
    task = chosen.task(kind, **of_task, labels=LABELS)
    config = chosen.config({**SIZES, **changes}, task, vocab_size=20)
    with pytest.raises(errors.FailedPreconditionError, match="comes nearest") as caught:
        choose(config)
    assert caught.value.reason == "EXPORT_UNSUPPORTED"
    assert field in {violation.field for violation in caught.value.violations}


@pytest.mark.parametrize("change", [{"stranger": 0}, {"trunk.decoder.norm.bias": None}])
def test_weights_that_are_not_of_the_config_are_refused(change):
    config = FAMILIES["gpt"].config(SIZES, vocab_size=20)
    arrays = {n: p.detach().numpy() for n, p in build(config).named_parameters()}
    arrays.update({name: np.zeros(1) for name in change})
    arrays = {n: a for n, a in arrays.items() if change.get(n, 0) is not None}
    with pytest.raises(errors.InvalidArgumentError, match=next(iter(change))) as caught:
        choose(config).plan(config).to_theirs(arrays)
    assert caught.value.reason == "UNKNOWN_PARAMETER"


BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": True,
    "trim_offsets": True,
    "use_regex": True,
}
ROBERTA = {
    "type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
    "trim_offsets": True, "add_prefix_space": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "kind", "processor"),
    [
        ("bert", "", ROBERTA),
        ("bert", "", {"type": "Sequence", "processors": [BYTE_LEVEL, ROBERTA]}),
        # A GPT may read texts as they stand, and then learns from them so.
        ("gpt", "classification", BYTE_LEVEL),
    ],
)
def test_a_tokenizer_with_a_frame_of_its_own_keeps_it(tokenizer, family, kind, processor):
    own = tokenizer("bert")
    config = made(family, kind, {}, own).config
    raw = json.dumps({**json.loads(own.to_json()), "post_processor": processor}).encode()
    assert files(choose(config), config, raw, "float32")["tokenizer.json"] == raw


def test_one_that_adds_nothing_gets_the_frame_of_the_training(tokenizer):
    own = tokenizer("bert")
    config = made("bert", "", {}, own).config
    raw = json.dumps({**json.loads(own.to_json()), "post_processor": BYTE_LEVEL}).encode()
    exported = files(choose(config), config, raw, "float32")["tokenizer.json"]
    processors = json.loads(exported)["post_processor"]["processors"]
    assert processors[0] == BYTE_LEVEL
    read = Tokenizer.from_json(raw)
    assert read.own_frame is None
    assert Tokenizer.from_json(exported).own_frame == read.frame()
