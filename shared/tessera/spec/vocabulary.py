"""The tokenizer that a family learns. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tessera.text.special import BERT, GPT, SEQ2SEQ, SpecialTokens

SPECIAL: Mapping[str, SpecialTokens] = {
    "transformer": SEQ2SEQ,
    "bert": BERT,
    "gpt": GPT,
    "bert_gpt": BERT,
}
"""Special tokens, by family."""

BYTES = 256
"""Tokens that a vocabulary of bytes has before it learns any."""


def default_kind(family: str) -> str:
    """The kind of tokenizer that goes with a family's special tokens."""
    return "wordpiece" if SPECIAL[family] is BERT else "byte_bpe"


def least_size(kind: str, family: str) -> int:
    """The smallest vocabulary that a tokenizer of that kind can do with."""
    return (BYTES if kind == "byte_bpe" else 1) + len(SPECIAL[family].names)
