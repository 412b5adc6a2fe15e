"""Learning a vocabulary from texts: the same texts give the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from tessera import errors
from tessera.text.special import BERT, ROLES, SEQ2SEQ, SpecialTokens
from tessera.text.tokenizer import Tokenizer
from tessera.text.unigram import score

# A text met once says nothing about the language, so merge what comes twice.
_MIN_FREQUENCY = 2
# Of a Unigram vocabulary, at most this part is single characters, as 3 of 4; the others of a
# large script become the unknown token.
_CHARACTERS = (3, 4)


def train(
    kind: str,
    texts: Iterator[str],
    vocab_size: int,
    special: SpecialTokens,
    *,
    lowercase: bool = False,
) -> Tokenizer:
    """Learn a vocabulary.

    Args:
        kind: one of KINDS.
        texts: training texts.
        vocab_size: ids at most, special ones included.
        special: names of the special tokens; kinds that cannot write every text add an unknown
            token if there is none.
        lowercase: make all text lower case first; such a tokenizer never says a capital.

    Raises:
        InvalidArgumentError: VOCABULARY_TOO_SMALL: `vocab_size` holds not even the smallest
            units of the kind.
    """
    learn, least, unknown = _LEARN[kind]
    special = replace(special, unknown=special.unknown or unknown)
    least += len(special.names)
    if vocab_size < least:
        raise errors.InvalidArgumentError.at(
            "tokenizer.vocab_size",
            f"a {kind} tokenizer with {len(special.names)} special tokens takes at least {least}",
            "VOCABULARY_TOO_SMALL",
        )
    inner = learn(list(texts), vocab_size, special, lowercase)
    numbers = {role: inner.token_to_id(getattr(special, role)) for role in ROLES}
    ids = {role: number for role, number in numbers.items() if number is not None}
    return Tokenizer(inner, ids=ids)


def _byte_bpe(
    texts: Iterable[str], vocab_size: int, special: SpecialTokens, lowercase: bool
) -> tokenizers.Tokenizer:
    """GPT-2's: any text is representable, every id decodes."""
    inner = tokenizers.Tokenizer(models.BPE())
    if lowercase:
        inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=_MIN_FREQUENCY,
        special_tokens=_added(special, spaced=True),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer=trainer)
    return inner


def _wordpiece(
    texts: list[str], vocab_size: int, special: SpecialTokens, lowercase: bool
) -> tokenizers.Tokenizer:
    """BERT's: words without their spaces, CJK characters apart."""

    def blank(vocabulary: dict[str, int]) -> tokenizers.Tokenizer:
        inner = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=special.unknown))
        inner.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        inner.decoder = decoders.WordPiece()
        return inner

    inner = blank({})
    singles, joined = _wordpiece_alphabet(inner, texts, vocab_size - len(special.names))
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=_MIN_FREQUENCY,
        # The library numbers these first. By itself it would number the joined characters in a
        # random order, which decides between merges that are equally frequent.
        special_tokens=[*special.names, *singles, *joined],
        initial_alphabet=singles,
        limit_alphabet=len(singles),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer=trainer)
    trained = blank(inner.get_vocab())
    trained.add_special_tokens(_added(special, spaced=False))
    return trained


def _wordpiece_alphabet(
    inner: tokenizers.Tokenizer, texts: Iterable[str], room: int
) -> tuple[list[str], list[str]]:
    """The most frequent characters that fit: as they begin a word, and as they go on with it."""
    begin: set[str] = set()
    go_on: set[str] = set()
    for character in _by_frequency(texts):
        found = set(inner.normalizer.normalize_str(character).strip())
        # Characters that are words of their own never go on with one.
        alone = len(inner.pre_tokenizer.pre_tokenize_str(f"a{character}a")) > 1
        wider = (begin | found, go_on if alone else go_on | found)
        if sum(map(len, wider)) > room:
            break
        begin, go_on = wider
    return sorted(begin), [f"##{character}" for character in sorted(go_on)]


def _unigram(
    texts: list[str], vocab_size: int, special: SpecialTokens, lowercase: bool
) -> tokenizers.Tokenizer:
    """SentencePiece's: the pieces that make the texts most probable, spaces written as ▁."""

    def blank(model: models.Unigram) -> tokenizers.Tokenizer:
        inner = tokenizers.Tokenizer(model)
        if lowercase:
            inner.normalizer = normalizers.Lowercase()
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split("\n", "isolated"),
                pre_tokenizers.Metaspace(prepend_scheme="first"),
            ]
        )
        inner.decoder = decoders.Metaspace(prepend_scheme="first")
        return inner

    inner = blank(models.Unigram())
    room = vocab_size - len(special.names)
    most = room * _CHARACTERS[0] // _CHARACTERS[1]
    if lowercase:
        texts = [inner.normalizer.normalize_str(text) for text in texts]
    rare = dict.fromkeys(map(ord, _by_frequency(texts)[most:]), " ")
    trainer = trainers.UnigramTrainer(
        vocab_size=room + 1,
        special_tokens=[special.unknown],
        unk_token=special.unknown,
        show_progress=False,
    )
    texts = [text.translate(rare) for text in texts]
    inner.train_from_iterator(texts, trainer=trainer)
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in inner.pre_tokenizer.pre_tokenize_str(text))
    pieces = score(set(inner.get_vocab()) - {*special.names}, words)
    vocabulary = [*((name, 0.0) for name in special.names), *pieces]
    unknown = special.names.index(special.unknown)
    trained = blank(models.Unigram(vocabulary, unknown, byte_fallback=False))
    trained.add_special_tokens(_added(special, spaced=True))
    return trained


def _character(
    texts: list[str], vocab_size: int, special: SpecialTokens, lowercase: bool
) -> tokenizers.Tokenizer:
    """The most frequent characters, each a token."""
    lower = normalizers.Lowercase() if lowercase else None
    kept = _by_frequency(map(lower.normalize_str, texts) if lower else texts)
    names = [*special.names, *sorted(kept[: vocab_size - len(special.names)])]
    vocabulary = {name: index for index, name in enumerate(names)}
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token=special.unknown))
    if lower:
        inner.normalizer = lower
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens(_added(special, spaced=False))
    return inner


def _by_frequency(texts: Iterable[str]) -> list[str]:
    """All characters, the most frequent first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return sorted(counts, key=lambda character: (-counts[character], character))


def _added(special: SpecialTokens, *, spaced: bool) -> list[tokenizers.AddedToken]:
    """The special tokens; where words carry the space before them, a mask swallows it too."""
    return [
        tokenizers.AddedToken(
            name, special=True, normalized=False, lstrip=spaced and name == special.mask
        )
        for name in special.names
    ]


_Learn = Callable[[list[str], int, SpecialTokens, bool], tokenizers.Tokenizer]

# How to learn, the ids that it takes at least besides special tokens, and the unknown token.
_LEARN: dict[str, tuple[_Learn, int, str]] = {
    "byte_bpe": (_byte_bpe, 256, ""),
    "wordpiece": (_wordpiece, 2, BERT.unknown),
    "unigram": (_unigram, 4, SEQ2SEQ.unknown),
    "character": (_character, 1, SEQ2SEQ.unknown),
}

KINDS = tuple(_LEARN)
