"""Ids back to text, one at a time. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping


def byte_alphabet() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte, inverted."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(value): value for value in plain}
    others = (value for value in range(256) if value not in plain)
    table.update({chr(256 + index): value for index, value in enumerate(others)})
    return table


def byte_table(vocabulary: Mapping[str, int], special: Iterable[int]) -> list[bytes]:
    """The bytes of every id: index is the id; special tokens and gaps are empty."""
    alphabet, hidden = byte_alphabet(), set(special)
    table = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, index in vocabulary.items():
        if index not in hidden:
            table[index] = bytes(alphabet[character] for character in token)
    return table


class Decoder:
    """Turns a stream of ids into text and never emits half a character.

    Args:
        table: the bytes of every id.
    """

    def __init__(self, table: list[bytes]) -> None:
        self._table = table
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that is complete now that `token` has come."""
        return self._utf8.decode(self._table[token])

    def finish(self) -> str:
        """What is left: U+FFFD for a character that never was completed."""
        return self._utf8.decode(b"", final=True)
