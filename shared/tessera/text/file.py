"""A tokenizer as a version carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFile:
    """A `tokenizer.json`, and what the config of its model says about it.

    Args:
        content: of the file.
        ids: of special tokens by their roles, those that the config states.
        framed: whether the file states all that stands around a text, even where it is nothing.
        unread: token that counts for nothing at the end of what it states; -1: there is none.
    """

    content: bytes
    ids: Mapping[str, int] = field(default_factory=dict)
    framed: bool = False
    unread: int = -1

    def load(self, *, bare: bool = False, starts: bool = True) -> Tokenizer:
        """The tokenizer.

        Args:
            bare: see `Tokenizer`.
            starts: see `Tokenizer`.

        Raises:
            InvalidArgumentError: INVALID_TOKENIZER, TOKENIZER_WITHOUT_END.
        """
        return Tokenizer.from_json(
            self.content,
            bare=bare,
            starts=starts,
            ids=self.ids,
            framed=self.framed,
            unread=self.unread,
        )
