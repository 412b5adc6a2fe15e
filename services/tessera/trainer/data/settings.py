"""What a spec says about its tokenizer. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.text.special import GPT, SpecialTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """How a tokenizer is learned.

    Args:
        kind: byte_bpe, wordpiece, unigram or character.
        vocab_size: ids at most.
        lowercase: whether upper case is given up.
        special: the tokens that stand for no text.
        starts: whether texts that an encoder reads begin with the start token.
    """

    kind: str = "byte_bpe"
    vocab_size: int = 4096
    lowercase: bool = False
    special: SpecialTokens = GPT
    starts: bool = True
