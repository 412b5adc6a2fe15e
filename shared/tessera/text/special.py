"""Special tokens. Needs no library."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from tessera import errors

ROLES = ("start", "end", "pad", "mask", "unknown")
"""What special tokens are for."""

END_OF_TEXT = "<|endoftext|>"
"""Ends every text of a GPT's training data; also where its generation begins and ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """Names of the tokens that stand for no text; empty where there is none.

    Args:
        end: ends a text, and in BERT each of its parts.
        start: begins a text.
        pad: fills a short row of a batch.
        mask: hides a token that the model has to guess.
        unknown: stands for text that the vocabulary cannot write.
    """

    end: str = ""
    start: str = ""
    pad: str = ""
    mask: str = ""
    unknown: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Those that exist, in the order of their ids: BERT's, so that padding is 0."""
        every = (self.pad, self.unknown, self.start, self.end, self.mask)
        return tuple(dict.fromkeys(name for name in every if name))


GPT = SpecialTokens(end=END_OF_TEXT)
BERT = SpecialTokens(end="[SEP]", start="[CLS]", pad="[PAD]", mask="[MASK]", unknown="[UNK]")
SEQ2SEQ = SpecialTokens(end="</s>", start="<s>", pad="<pad>", mask="<mask>", unknown="<unk>")

# (end, start) by convention. Tokenizers may mix them: a BERT of today adds its five names to
# the vocabulary of a GPT, and some GPTs keep the `</s>` of the tokenizer that they came from.
_FRAMES = (
    ("[SEP]", "[CLS]"),
    (END_OF_TEXT, ""),
    ("<|end_of_text|>", "<|begin_of_text|>"),
    ("<eos>", "<bos>"),
    ("<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"),  # noqa: RUF001 - spelled so
    ("</s>", "<s>"),
)
_PADS = ("[PAD]", "<pad>", "<|padding|>", "<|finetune_right_pad_id|>")
_MASKS = ("[MASK]", "<mask>")
_UNKNOWNS = ("[UNK]", "<unk>")


WELL_KNOWN = frozenset(
    name
    for names in (*_FRAMES, _PADS, _MASKS, _UNKNOWNS)
    for name in names
    if name
)  # fmt: skip
"""Names that mean the same wherever they stand."""


def find_special(
    vocabulary: Container[str], stated: Mapping[str, str] | None = None
) -> SpecialTokens:
    """The special tokens of a vocabulary: those that are stated, and well-known ones for the rest.

    Args:
        vocabulary: every token.
        stated: names by role, as `SpecialTokens` calls the roles; an empty one states nothing.

    Returns:
        Without an end, `end` is empty.
    """
    known = {role: name for role, name in (stated or {}).items() if name}

    def first(names: tuple[str, ...]) -> str:
        return next((name for name in names if name in vocabulary), "")

    end = known.get("end") or first(tuple(end for end, _ in _FRAMES))
    start = dict(_FRAMES).get(end, "")
    common = {
        "end": end,
        "start": first((start,)) if start else "",
        "pad": first(_PADS),
        "mask": first(_MASKS),
        "unknown": first(_UNKNOWNS),
    }
    return SpecialTokens(**{**common, **known})


def without_end() -> errors.InvalidArgumentError:
    """The error of a tokenizer that cannot end a text."""
    return errors.InvalidArgumentError(
        "the tokenizer has no token that ends a text: none is stated, and it has neither"
        " `<|endoftext|>` nor `[SEP]` nor `</s>` or the like; name one of its tokens as `eos_token`"
        " (of an encoder, `sep_token`) in tokenizer_config.json, or as `eos_token_id` in"
        " config.json",
        reason="TOKENIZER_WITHOUT_END",
    )
