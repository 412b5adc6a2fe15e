"""Text to ids and back, whatever the kind of the tokenizer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import tokenizers

from tessera import errors
from tessera.text.decoder import NOTHING, DecodeStream, Piece, Reader
from tessera.text.frame import Frame, find_frame
from tessera.text.special import ROLES, WELL_KNOWN, SpecialTokens, find_special, without_end


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids of a text, and the characters of the text (from, to) that each one stands for.

    White space around a word is left out, unless a token is nothing else.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


class Tokenizer:
    """Text to ids and back; adds no special tokens, and neither truncates nor pads.

    Make one with `tessera.text.training.train` or `from_json`.

    Args:
        inner: the library's tokenizer; it is changed and must not be used elsewhere.
        bare: whether it may state that nothing stands around a text, as GPT-2's does; else such a
            statement is none.
        starts: whether a text begins with the start token where nothing is stated, as in BERT.
        ids: of special tokens by their roles, where its model states them; well-known names tell
            the others.
        framed: whether it states all that stands around a text even where it states nothing.
        unread: token that counts for nothing at the end of what it states; -1: there is none.

    Raises:
        InvalidArgumentError: TOKENIZER_WITHOUT_END: no token that ends a text is stated, and it
            has none of the well-known ones.
    """

    def __init__(
        self,
        inner: tokenizers.Tokenizer,
        *,
        bare: bool = False,
        starts: bool = True,
        ids: Mapping[str, int] | None = None,
        framed: bool = False,
        unread: int = -1,
    ) -> None:
        # Special tokens are ours to set: written in a text they are mere characters.
        inner.encode_special_tokens = True
        inner.no_truncation()
        inner.no_padding()
        vocabulary = inner.get_vocab(with_added_tokens=True)
        ids = ids or {}
        self.special: SpecialTokens = find_special(
            vocabulary, {role: inner.id_to_token(number) or "" for role, number in ids.items()}
        )
        known = {**_numbers(self.special, vocabulary), **ids}
        if "end" not in known:
            raise without_end()
        _flag(inner, self.special)
        self._inner = inner
        self.vocab_size: int = max(vocabulary.values()) + 1
        self.special_ids: frozenset[int] = frozenset(_special(inner))
        self.end_id: int = known["end"]
        self.start_id: int = known.get("start", self.end_id)
        self.pad_id: int = known.get("pad", self.end_id)
        self.mask_id: int | None = known.get("mask")
        self.unknown_id: int | None = known.get("unknown")
        stated = find_frame(inner)
        told = framed or (stated is not None and (stated.one or bare))
        self.own_frame: Frame | None = (stated or Frame()).without(unread) if told else None
        self._starts = starts
        self._ids_by_role = known
        self._pieces = _Pieces(inner, self.special_ids)

    @classmethod
    def from_json(
        cls,
        content: bytes,
        *,
        bare: bool = False,
        starts: bool = True,
        ids: Mapping[str, int] | None = None,
        framed: bool = False,
        unread: int = -1,
    ) -> Tokenizer:
        """The tokenizer in a `tokenizer.json`.

        Args:
            content: of the file.
            bare: see the class.
            starts: see the class.
            ids: see the class.
            framed: see the class.
            unread: see the class.

        Raises:
            InvalidArgumentError: INVALID_TOKENIZER: it is not one; TOKENIZER_WITHOUT_END.
        """
        try:
            inner = tokenizers.Tokenizer.from_str(content.decode())
        except Exception as error:  # noqa: BLE001 - the library raises bare Exceptions
            raise errors.InvalidArgumentError(
                f"not a tokenizer.json: {error}", reason="INVALID_TOKENIZER"
            ) from None
        return cls(inner, bare=bare, starts=starts, ids=ids, framed=framed, unread=unread)

    def to_json(self) -> bytes:
        """The content of `tokenizer.json`, the same bytes every time."""
        return str(self._inner.to_str()).encode()

    @property
    def identity(self) -> bytes:
        """The same bytes for two tokenizers only if all that they make of texts is the same."""
        return self.to_json() + repr((sorted(self._ids_by_role.items()), self.frame())).encode()

    def frame(self) -> Frame:
        """What a model reads around texts: what `tokenizer.json` states, or else our own."""
        before = (self.start_id,) if self._starts else ()
        return self.own_frame or Frame(before=before, between=(self.end_id,), after=(self.end_id,))

    def opening(self, first: int = -1) -> tuple[int, ...]:
        """What a decoder reads or writes before a text: the beginning of its own frame, if any.

        BART begins with `</s>` and then writes `<s>`; Marian begins with `<pad>` and writes the
        text.

        Args:
            first: token that the decoder begins with beside an encoder, and need not write again;
                -1: there is none.
        """
        before = () if self.own_frame is None else self.own_frame.before
        return () if before == (first,) else before

    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens written in it are taken as plain text."""
        return self._ids(text, _encode(self._inner, text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of several texts, in parallel where the library may."""
        found = self._inner.encode_batch(list(texts), add_special_tokens=False)
        return [self._ids(*pair) for pair in zip(texts, found, strict=True)]

    def encode_marked(self, text: str) -> list[int]:
        """Ids of a text in which special tokens, such as `[MASK]`, are written by name."""
        return list(_encode(self._marked, text).ids)

    def encode_offsets(self, text: str) -> Encoded:
        """`encode`, with the characters that each id stands for."""
        return self._encoded(text, _encode(self._inner, text))

    def encode_offsets_batch(self, texts: Sequence[str]) -> list[Encoded]:
        """`encode_offsets` of several texts, in parallel where the library may."""
        found = self._inner.encode_batch(list(texts), add_special_tokens=False)
        return [self._encoded(*pair) for pair in zip(texts, found, strict=True)]

    def encode_words(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Ids of the words with spaces between them, and for each id the index of its word.

        A word that the tokenizer drops, such as an empty one, has no ids.
        """
        encoded = self.encode_offsets(" ".join(words))
        # A word owns the space before it.
        ends = list(accumulate(len(word) + bool(index) for index, word in enumerate(words)))
        return encoded.ids, [bisect_right(ends, start) for start, _ in encoded.offsets]

    def decode(self, ids: Sequence[int], *, continues: bool = False) -> str:
        """Text of ids; bytes that are no UTF-8 become U+FFFD, special tokens vanish.

        Args:
            ids: may hold ids that the vocabulary lacks; they say nothing.
            continues: see `decoder`.
        """
        decoder = self.decoder(continues=continues)
        return "".join(map(decoder.push, ids)) + decoder.finish()

    def decoder(self, *, continues: bool = False) -> DecodeStream:
        """A decoder for one stream of ids; joined, what it says is what `decode` says.

        Args:
            continues: the stream goes on with a text, as an answer does with its prompt, so
                that a first token with a space before its word keeps that space.
        """
        return DecodeStream(self._pieces, continues=continues)

    def token_text(self, token: int) -> str:
        """One id as people read it: its text, or the name of a special token."""
        if token in self.special_ids:
            return str(self._inner.id_to_token(token))
        return self._pieces[token].first.decode(errors="replace")

    @cached_property
    def longest(self) -> int:
        """Characters of the longest token, as its vocabulary spells it."""
        return max(map(len, self._inner.get_vocab(with_added_tokens=True)))

    @cached_property
    def _marked(self) -> tokenizers.Tokenizer:
        # A second one, since the switch is not per call.
        return tokenizers.Tokenizer.from_str(self._inner.to_str())

    def _ids(self, text: str, encoding: tokenizers.Encoding) -> list[int]:
        if self.special_ids.isdisjoint(encoding.ids):
            return list(encoding.ids)
        return [token for token, _ in self._plain(text, encoding)]

    def _encoded(self, text: str, encoding: tokenizers.Encoding) -> Encoded:
        pairs = list(self._plain(text, encoding))
        return Encoded([token for token, _ in pairs], [_trim(text, span) for _, span in pairs])

    def _plain(
        self, text: str, encoding: tokenizers.Encoding
    ) -> Iterator[tuple[int, tuple[int, int]]]:
        """Ids and offsets, with the special tokens that a model found in the text spelled out.

        Models whose vocabulary holds them, Unigram above all, find them as they find words.
        """
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            unknown = token == self.unknown_id and text[start:end] != self.special.unknown
            if token not in self.special_ids or unknown:
                yield token, (start, end)
                continue
            name = str(self._inner.id_to_token(token))
            for part, (first, last) in _spell(self._inner, name):
                yield part, (min(start + first, end), min(start + last, end))


class _Pieces(dict[int, Piece]):
    """What every id says, found out when first asked for."""

    def __init__(self, inner: tokenizers.Tokenizer, special_ids: frozenset[int]) -> None:
        super().__init__(dict.fromkeys(special_ids, NOTHING))
        self._inner = inner
        self._reader = Reader(inner.decoder.decode if inner.decoder else " ".join)

    def __missing__(self, token: int) -> Piece:
        name = self._inner.id_to_token(token)
        piece = self[token] = NOTHING if name is None else self._reader.read(name)
        return piece


def _encode(inner: tokenizers.Tokenizer, text: str) -> tokenizers.Encoding:
    """The encoding of one text; other threads go on meanwhile, which `encode` keeps from it."""
    return inner.encode_batch([text], add_special_tokens=False)[0]


def _numbers(special: SpecialTokens, vocabulary: Mapping[str, int]) -> dict[str, int]:
    """The id of every special token by its role."""
    names = {role: getattr(special, role) for role in ROLES}
    return {role: vocabulary[name] for role, name in names.items() if name in vocabulary}


def _flag(inner: tokenizers.Tokenizer, special: SpecialTokens) -> None:
    """Make special tokens of well-known ones that are mere words of the vocabulary."""
    known = {token.content for token in inner.get_added_tokens_decoder().values() if token.special}
    inner.add_special_tokens(
        [
            tokenizers.AddedToken(name, special=True, normalized=False)
            for name in special.names
            if name in WELL_KNOWN and name not in known
        ]
    )


def _special(inner: tokenizers.Tokenizer) -> Iterator[int]:
    for index, token in inner.get_added_tokens_decoder().items():
        if token.special:
            yield int(index)


def _spell(inner: tokenizers.Tokenizer, name: str) -> Iterator[tuple[int, tuple[int, int]]]:
    """The ids of a special token's name, cut in two so that it is not found as a whole."""
    for shift, part in ((0, name[:1]), (1, name[1:])):
        for found in inner.model.tokenize(part):
            start, end = found.offsets
            yield int(found.id), (shift + start, shift + end)


def _trim(text: str, span: tuple[int, int]) -> tuple[int, int]:
    start, end = span
    word = text[start:end].strip()
    if not word:
        return span
    start = text.index(word, start)
    return start, start + len(word)
