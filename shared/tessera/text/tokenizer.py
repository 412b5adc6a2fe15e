"""Byte-level BPE: any text is representable, every id decodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from tessera import errors
from tessera.text.decoder import Decoder, byte_table
from tessera.text.special import END_OF_TEXT


class Tokenizer:
    """Text to ids and back.

    Make one with `train_byte_bpe` or `from_json`.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        # The end of a text is ours to set: written in a text it is mere characters.
        inner.encode_special_tokens = True
        self._inner = inner
        end_id = inner.token_to_id(END_OF_TEXT)
        if end_id is None:
            raise errors.InvalidArgumentError(
                f"the tokenizer has no `{END_OF_TEXT}` token", reason="TOKENIZER_WITHOUT_END"
            )
        self.end_id = int(end_id)
        self._bytes: list[bytes] | None = None

    @classmethod
    def from_json(cls, content: bytes) -> Tokenizer:
        """The tokenizer in a `tokenizer.json`.

        Raises:
            InvalidArgumentError: it is not one, or lacks the end-of-text token.
        """
        try:
            inner = tokenizers.Tokenizer.from_str(content.decode())
        except Exception as error:  # noqa: BLE001 - the library raises bare Exceptions
            raise errors.InvalidArgumentError(
                f"not a tokenizer.json: {error}", reason="INVALID_TOKENIZER"
            ) from None
        return cls(inner)

    def to_json(self) -> bytes:
        """The content of `tokenizer.json`, the same bytes every time."""
        return str(self._inner.to_str()).encode()

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens written in it are taken as plain text."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of several texts, in parallel where the library may."""
        found = self._inner.encode_batch(list(texts), add_special_tokens=False)
        return [list(encoding.ids) for encoding in found]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; bytes that are no UTF-8 become U+FFFD, special tokens vanish."""
        table = self._table()
        return b"".join(table[token] for token in ids).decode(errors="replace")

    def decoder(self) -> Decoder:
        """A decoder for one stream of ids."""
        return Decoder(self._table())

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for; none for a special token."""
        return self._table()[token]

    def _table(self) -> list[bytes]:
        if self._bytes is None:
            vocabulary = self._inner.get_vocab(with_added_tokens=True)
            special = {int(key) for key in self._inner.get_added_tokens_decoder()}
            self._bytes = byte_table(vocabulary, special)
        return self._bytes


def train_byte_bpe(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """Learn a vocabulary.

    Args:
        texts: training texts.
        vocab_size: ids at most, the end-of-text token and the 256 bytes included.
    """
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    inner.decoder = decoders.ByteLevel()
    # Merge at least twice: a text met once says nothing about the language.
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer=trainer)
    return Tokenizer(inner)
