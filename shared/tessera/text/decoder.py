"""Ids back to text, one at a time. Pure.

A library's decoder takes a whole list of tokens. To stream, we ask it once per token what that
token says at the beginning of a text, inside it and at its end; the rest is joining bytes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_ANCHOR = "x"  # any token that says itself wherever it stands
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one token says.

    Args:
        first: at the beginning of a text.
        inner: anywhere else.
        tail: what it adds once another token follows.
    """

    first: bytes
    inner: bytes
    tail: bytes = b""


NOTHING = Piece(first=b"", inner=b"")
"""Special tokens, and ids that the vocabulary does not have."""


def byte_alphabet() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte, inverted."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(value): value for value in plain}
    others = (value for value in range(256) if value not in plain)
    table.update({chr(256 + index): value for index, value in enumerate(others)})
    return table


class Reader:
    """Tells what a token says.

    Args:
        join: a library's decoder, from a list of tokens to their text.
    """

    def __init__(self, join: Callable[[list[str]], str]) -> None:
        self._join = join
        self._rest = join([_ANCHOR, _ANCHOR]).removeprefix(_ANCHOR)
        # Bytes need care, since the library would mark half a character at once.
        self._alphabet = byte_alphabet() if join(["Ġ"]) == " " else None
        self._fallback = join(["<0x41>"]) == "A"

    def read(self, token: str) -> Piece:
        """The piece of one token."""
        if self._alphabet is not None:
            return self._byte_level(token, self._alphabet)
        written = _BYTE.fullmatch(token) if self._fallback else None
        if written:
            value = bytes.fromhex(written[1])
            return Piece(first=value if self._join([token]) else b"", inner=value)
        inner = self._join([_ANCHOR, token]).removeprefix(_ANCHOR)
        followed = self._join([_ANCHOR, token, _ANCHOR]).removeprefix(_ANCHOR)
        tail = followed.removesuffix(self._rest).removeprefix(inner)
        return Piece(first=self._join([token]).encode(), inner=inner.encode(), tail=tail.encode())

    @staticmethod
    def _byte_level(token: str, alphabet: Mapping[str, int]) -> Piece:
        try:
            said = bytes(alphabet[character] for character in token)
        except KeyError:  # an added token, written as it is
            said = token.encode()
        return Piece(first=said, inner=said)


class DecodeStream:
    """Turns a stream of ids into text and never emits half a character.

    Args:
        pieces: what every id says.
        continues: the stream goes on with a text, so that a space that leads it counts.
    """

    def __init__(self, pieces: Mapping[int, Piece], *, continues: bool) -> None:
        self._pieces = pieces
        self._begun = continues
        self._tail = b""
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that is complete now that `token` has come."""
        piece = self._pieces[token]
        if piece is NOTHING:
            return ""
        said = self._tail + (piece.inner if self._begun else piece.first)
        self._begun, self._tail = True, piece.tail
        return self._utf8.decode(said)

    def finish(self) -> str:
        """What is left: U+FFFD for a character that never was completed."""
        return self._utf8.decode(b"", final=True)
