"""Texts that imported models read and write: the ids that transformers' tokenizers give them."""

from __future__ import annotations

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors

from tessera.data.record import Record
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.bounds import Bounds
from tessera.inference.tasks.classify import Classify
from tessera.inference.tasks.generate import prepare
from tessera.inference.tasks.score import Score
from tessera.inference.tasks.task import answering
from tessera.inference.tasks.text_input import TextInput
from tessera.inference.tasks.translate import Translate
from tessera.inference.tasks.writing import SamplingParams
from tessera.models.tasks import kind_of
from tessera.trainer.tasks.pairs import PairCollate, PairEncoder

from .theirs import ours

START, PAD, END = 0, 1, 2
WORDS = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(25))]
IDS = {"vocab_size": len(WORDS), "bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
TEXT, OTHER = "w7 w1 w24", "w3 w3"

ROBERTA = processors.RobertaProcessing(("</s>", END), ("<s>", START))
BERT = processors.TemplateProcessing(
    single="<s> $A </s>",
    pair="<s> $A </s> $B:1 </s>:1",
    special_tokens=[("<s>", START), ("</s>", END)],
)
MARIAN = processors.TemplateProcessing(
    single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", END)]
)
LLAMA = processors.TemplateProcessing(
    single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", START)]
)
GPT2 = processors.ByteLevel(trim_offsets=False)


@pytest.fixture(scope="module")
def hf():
    import transformers  # noqa: PLC0415 - it takes seconds

    transformers.logging.set_verbosity_error()
    return transformers


def bert(hf):
    return hf.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, **IDS
    )


def gpt2(hf):
    return hf.GPT2Config(n_positions=32, n_embd=16, n_layer=1, n_head=2, **IDS)


def llama(hf):
    return hf.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, **IDS
    )


def seq2seq(start):
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {"layers": 1, "attention_heads": 2, "ffn_dim": 16}.items()
    }
    return {"d_model": 16, "max_position_embeddings": 32, "decoder_start_token_id": start,
            **sizes, **IDS}  # fmt: skip


@pytest.fixture
def load(hf, tmp_path):
    """A model as we load it, and transformers' tokenizer of the same folder."""

    def made(model, processor):
        inner = tokenizers.Tokenizer(
            models.WordLevel({word: index for index, word in enumerate(WORDS)}, "<unk>")
        )
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        inner.post_processor = processor
        theirs = hf.PreTrainedTokenizerFast(
            tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
            unk_token="<unk>", cls_token="<s>", sep_token="</s>",
        )  # fmt: skip
        theirs.save_pretrained(tmp_path)
        return ours(model, tmp_path), theirs

    return made


BOUNDS = Bounds(BlockManager(64, 4), BlockManager(64, 4))


def bert2gpt2(hf):
    both = hf.EncoderDecoderConfig.from_encoder_decoder_configs(bert(hf), gpt2(hf))
    both.decoder_start_token_id, both.eos_token_id, both.pad_token_id = START, END, PAD
    return hf.EncoderDecoderModel(both)


def bart(hf):
    return hf.BartForConditionalGeneration(hf.BartConfig(**seq2seq(END)))


def marian(hf):
    return hf.MarianMTModel(hf.MarianConfig(**seq2seq(PAD)))


@pytest.mark.parametrize(
    ("make", "processor"),
    [
        (lambda hf: hf.GPT2LMHeadModel(gpt2(hf)), GPT2),
        (lambda hf: hf.LlamaForCausalLM(llama(hf)), LLAMA),
    ],
    ids=["gpt2", "llama"],
)
def test_prompts(hf, load, make, processor):
    model, theirs = load(make(hf), processor)
    request = prepare(model, BOUNDS, TextInput(text=TEXT), SamplingParams())
    assert list(request.prompt) == theirs(TEXT).input_ids
    given = prepare(model, BOUNDS, TextInput(tokens=(5, 6)), SamplingParams())
    assert given.prompt == (5, 6)


@pytest.mark.parametrize(
    ("make", "processor", "first"),
    [(bart, ROBERTA, END), (marian, MARIAN, PAD), (bert2gpt2, BERT, START)],
)
def test_sources(hf, load, make, processor, first):
    model, theirs = load(make(hf), processor)
    (request,) = Translate([TextInput(text=TEXT)], SamplingParams(max_tokens=4)).prepare(
        model, BOUNDS
    )
    assert list(request.source) == theirs(TEXT).input_ids
    assert request.prompt == (first,)


@pytest.mark.parametrize(
    ("make", "processor"),
    [
        (lambda hf: hf.BertForSequenceClassification(bert(hf)), BERT),
        (lambda hf: hf.BertForTokenClassification(bert(hf)), BERT),
        (lambda hf: hf.GPT2ForSequenceClassification(gpt2(hf)), GPT2),
        (lambda hf: hf.LlamaForSequenceClassification(llama(hf)), LLAMA),
    ],
    ids=["bert", "bert-tokens", "gpt2", "llama"],
)
def test_texts_with_classes(hf, load, make, processor):
    model, theirs = load(make(hf), processor)
    task = answering(model.config, Classify([TextInput(text=TEXT)], top_k=0))
    (text,) = task.prepare(model, BOUNDS)
    expected = theirs(TEXT)
    assert list(text.tokens) == expected.input_ids
    if "tokens" in kind_of(model.config.task).head_names:
        logits = np.eye(len(text.tokens), 2, dtype=np.float32)
        (found,) = task.finish([logits])
        assert [piece.text for piece in found.tokens] == TEXT.split()
        return
    (pair,) = Classify([TextInput(text=TEXT, pair=OTHER)], top_k=0).prepare(model, BOUNDS)
    expected = theirs(TEXT, OTHER, return_token_type_ids=True)
    assert list(pair.tokens) == expected.input_ids
    if model.config.encoder is not None:
        assert list(pair.segments) == expected.token_type_ids


@pytest.mark.parametrize(
    ("make", "processor"),
    [
        (lambda hf: hf.GPT2LMHeadModel(gpt2(hf)), GPT2),
        (lambda hf: hf.LlamaForCausalLM(llama(hf)), LLAMA),
    ],
    ids=["gpt2", "llama"],
)
def test_how_likely_texts_are(hf, load, make, processor):
    model, theirs = load(make(hf), processor)
    (text,) = Score([(TextInput(text=TEXT), TextInput(text=OTHER))]).prepare(model, BOUNDS)
    assert [*text.tokens, text.targets[-1]] == theirs(f"{TEXT} {OTHER}").input_ids
    assert text.places[0] == len(theirs(TEXT).input_ids) - 1
    (alone,) = Score([(None, TextInput(text=TEXT))]).prepare(model, BOUNDS)
    expected = theirs(TEXT).input_ids
    assert [*alone.tokens, alone.targets[-1]][-len(expected) :] == expected
    assert len(alone.targets) == len(TEXT.split())


@pytest.mark.parametrize(("make", "processor"), [(bart, ROBERTA), (marian, MARIAN)])
def test_targets(hf, load, make, processor):
    """As trained: transformers' labels, and what its decoder reads for them; as scored too."""
    module = make(hf)
    model, theirs = load(module, processor)
    labels = theirs(OTHER, return_tensors="pt").input_ids
    read = module.prepare_decoder_input_ids_from_labels(labels)
    first = model.config.first_id
    encoder = PairEncoder(tokenizer=model.tokenizer, longest=16, first=first, cut=False)
    (row,) = encoder([Record(values={"source": TEXT, "target": OTHER}, place="one")])
    assert row["source"].tolist() == theirs(TEXT).input_ids
    assert row["target"] == labels[0].tolist()
    rows = [{name: np.array(value) for name, value in row.items()}]
    collate = PairCollate(tokenizer=model.tokenizer, first=first, longest=0)
    batch = collate("train", rows, np.zeros(1, np.int64))
    assert batch.inputs.decoder_tokens.tolist() == read.tolist()
    assert batch.targets["next"].tolist() == labels[0].tolist()

    (text,) = Score([(TextInput(text=TEXT), TextInput(text=OTHER))]).prepare(model, BOUNDS)
    assert text.tokens == tuple(theirs(TEXT).input_ids)
    assert list(text.written) == read[0].tolist()[: len(text.written)]
    assert [labels[0].tolist()[place] for place in text.places] == list(text.targets)
