"""Folders of transformers and sentence-transformers of every architecture that can be imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from hypothesis import strategies as st
from random_models import configs
from random_sentences import sentence_modules
from random_tokenizers import TEXT, tokenizers
from roundtrip import randomized

from tessera.models.huggingface.catalog import ARCHITECTURES

VECTORS = ("BertModel", "GPT2Model", "LlamaModel")
"""Classes that sentence-transformers makes vectors with."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, its tokenizer and texts; without a tokenizer it has two vocabularies."""

    name: str
    config: Any
    tokenizer: Any
    forbidden: tuple[int, ...]
    texts: list[str]
    jinja: bool
    seed: int

    def save(self, folder):
        """A folder as transformers writes it."""
        model = randomized(getattr(hf, self.name)(self.config), self.seed)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_(generator=torch.Generator().manual_seed(self.seed))
        if self.forbidden and model.can_generate():
            model.generation_config.bad_words_ids = [[token] for token in self.forbidden]
        model.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder, save_jinja_files=self.jinja)
        return model


@st.composite
def cases(draw, name, *, sentences=False):
    architecture = ARCHITECTURES[name]
    reads, writes = architecture.family != "gpt", architecture.family != "bert"
    theirs = draw(tokenizers(reads=reads, writes=writes, sentences=sentences))
    least = max(theirs.get_vocab().values()) + 1
    words = least + draw(st.integers(0, 5))
    target = 0
    if name == "EncoderDecoderModel" and draw(st.booleans()):
        target, theirs = words + draw(st.integers(1, 5)), None
    config = draw(configs(name, words, draw(ids(name, theirs, words)), target))
    return Case(
        name=name,
        config=config,
        tokenizer=theirs,
        forbidden=tuple(draw(st.sets(st.integers(0, least - 1), max_size=2))),
        texts=draw(st.lists(TEXT, min_size=3, max_size=3)),
        jinja=draw(st.booleans()),
        seed=draw(st.integers(0, 10_000)),
    )


@st.composite
def ids(draw, name, theirs, words):
    """The special tokens that a config names."""
    number = st.integers(0, words - 1)

    def known(role, *, always=False):
        """As the tokenizer has it; where it has none, any or none."""
        own = None if theirs is None else getattr(theirs, f"{role}_token_id")
        if own is not None:
            return own
        return draw(number if always else st.none() | number)

    found = {"pad_token_id": draw(st.sampled_from([known("pad"), known("pad"), None]))}
    if name.startswith("Bert"):
        return found
    ends = known("eos", always=True)
    found |= {"bos_token_id": known("bos"), "eos_token_id": ends}
    if found["pad_token_id"] is not None and draw(st.booleans()):
        found["pad_token_id"] = ends
    if not name.startswith(("GPT2", "Llama")):
        found["decoder_start_token_id"] = draw(st.sampled_from([ends, *range(3)]))
        found["forced_eos_token_id"] = draw(st.sampled_from([None, ends]))
    if draw(st.booleans()) and "For" in name:
        found["eos_token_id"] = [ends, draw(number.filter(lambda token: token != ends))]
    return found


@st.composite
def sentence_cases(draw, name):
    return draw(cases(name, sentences=True)), draw(sentence_modules())
