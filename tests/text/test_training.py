from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.text.special import BERT, GPT, SEQ2SEQ
from tessera.text.tokenizer import Tokenizer
from tessera.text.training import KINDS, train

from .conftest import SPECIAL, TEXTS, learn

CHINESE = ["今天天气很好、我们去公园散步。", "这部电影非常无聊。", "我很喜欢这本书。"]
SONNET = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n" * 5

# Trains every kind and prints a digest of each, as another process would find it.
ELSEWHERE = """
import hashlib, json, sys
from tessera.text import special, training
texts = json.load(sys.stdin)
for kind in training.KINDS:
    made = training.train(kind, iter(texts), 300, special.SEQ2SEQ).to_json()
    print(hashlib.sha256(made).hexdigest())
"""


def names_of(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    inner = tokenizers.Tokenizer.from_str(tokenizer.to_json().decode())
    return [inner.id_to_token(token) for token in ids]


@pytest.mark.processes
def test_training_is_the_same_in_every_process():
    texts = [*TEXTS, *CHINESE, SONNET]
    ours = [
        hashlib.sha256(train(kind, iter(texts), 300, SEQ2SEQ).to_json()).hexdigest()
        for kind in KINDS
    ]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ours
    assert len(set(ours)) == len(KINDS)


@pytest.mark.parametrize("special", [GPT, BERT, SEQ2SEQ])
@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_come_first_and_an_unknown_where_it_is_needed(kind, special):
    tokenizer = learn(kind, special)
    found = tokenizer.special
    assert (found.end, found.start, found.pad, found.mask) == (
        special.end,
        special.start,
        special.pad,
        special.mask,
    )
    assert bool(found.unknown) == bool(special.unknown or kind != "byte_bpe")
    assert names_of(tokenizer, range(len(found.names))) == list(found.names)
    assert tokenizer.special_ids == set(range(len(found.names)))
    assert tokenizer.vocab_size <= 320
    if kind != "byte_bpe":
        assert tokenizer.unknown_id in tokenizer.encode("\u1234")


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_recur_become_tokens_but_for_characters(kind):
    tokenizer = learn(kind)
    characters = len("import")
    assert (len(tokenizer.encode("x import")) >= characters) == (kind == "character")


@settings(max_examples=30, deadline=None)
@given(text=st.text(st.sampled_from("".join(TEXTS))))
@pytest.mark.parametrize("kind", ["byte_bpe", "unigram", "character"])
def test_a_text_of_known_characters_comes_back(get_tokenizer, kind, text):
    tokenizer = get_tokenizer(kind)
    # Unigram writes a space before the first word, and cannot tell it from one of the text's.
    expected = text.removeprefix(" ") if kind == "unigram" else text
    assert tokenizer.decode(tokenizer.encode(text)) == expected


@settings(max_examples=30, deadline=None)
@given(st.text())
def test_bytes_write_any_text(text):
    tokenizer = learn("byte_bpe", size=257)
    assert tokenizer.vocab_size == 257
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_character_is_a_token():
    tokenizer = train("character", iter([SONNET]), 100, GPT)
    kinds = sorted(set(SONNET))
    assert tokenizer.vocab_size == len(kinds) + 2
    assert names_of(tokenizer, tokenizer.encode(SONNET)) == list(SONNET)
    assert tokenizer.decode(tokenizer.encode(SONNET)) == SONNET


def test_the_rarest_characters_are_unknown():
    tokenizer = train("character", iter(["aaaabbbccd"]), 4, GPT)
    assert names_of(tokenizer, tokenizer.encode("abcd")) == ["a", "b", "<unk>", "<unk>"]


@pytest.mark.parametrize("kind", KINDS)
def test_chinese_is_written(kind):
    tokenizer = train(kind, iter(CHINESE), 300, BERT)
    text = "我喜欢这部电影。"
    ids = tokenizer.encode(text)
    assert tokenizer.unknown_id not in ids
    assert tokenizer.decode(ids).replace(" ", "") == text
    if kind == "wordpiece":
        assert names_of(tokenizer, ids) == list(text)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "character"])
def test_a_large_script_fits_a_small_vocabulary(kind):
    often, rarely = "一二三四", "".join(map(chr, range(0x4E00 + 100, 0x4E00 + 400)))
    tokenizer = train(kind, iter([often * 50, rarely]), 40, SEQ2SEQ)
    assert tokenizer.vocab_size <= 40
    assert tokenizer.unknown_id not in tokenizer.encode(often)
    assert tokenizer.unknown_id in tokenizer.encode(rarely)


def test_wordpiece_normalises_as_bert_does():
    tokenizer = learn("wordpiece", lowercase=True)
    assert tokenizer.encode("Naïve\u200b  IMPORT") == tokenizer.encode("naive import")
    assert names_of(tokenizer, tokenizer.encode("Import, imports")) == ["import", ",", "imports"]
    cased = learn("wordpiece")
    assert cased.encode("Import") != cased.encode("import")


@pytest.mark.parametrize("kind", KINDS)
def test_lower_case_is_learnt_and_written(kind):
    texts = ["HELLO WORLD, HELLO THERE, HELP US ALL " * 9]
    tokenizer = train(kind, iter(texts), 300, SEQ2SEQ, lowercase=True)
    assert tokenizer.encode("Hello") == tokenizer.encode("hello")
    assert tokenizer.unknown_id not in tokenizer.encode("Hello")
    assert tokenizer.decode(tokenizer.encode("HELLO World")) == "hello world"


def test_a_mask_takes_the_place_of_a_word_with_its_space():
    for kind in ("byte_bpe", "unigram"):
        tokenizer = learn(kind, SEQ2SEQ)
        marked = tokenizer.encode_marked("other <mask> other")
        here = marked.index(tokenizer.mask_id)
        assert marked[:here] == tokenizer.encode("other")
        assert tokenizer.decode(marked[here:], continues=True) == " other"


@pytest.mark.parametrize(
    ("kind", "special", "least"),
    [
        ("byte_bpe", GPT, 257),
        ("byte_bpe", BERT, 261),
        ("wordpiece", BERT, 7),
        ("unigram", SEQ2SEQ, 9),
        ("character", GPT, 3),
    ],
)
def test_a_vocabulary_holds_at_least_the_smallest_units(kind, special, least):
    assert train(kind, iter(TEXTS), least, special).vocab_size <= least
    with pytest.raises(errors.InvalidArgumentError) as caught:
        train(kind, iter(TEXTS), least - 1, special)
    assert caught.value.reason == "VOCABULARY_TOO_SMALL"
    assert str(least) in caught.value.message
    assert [each.field for each in caught.value.violations] == ["tokenizer.vocab_size"]


def test_every_kind_was_looked_at():
    assert set(SPECIAL) == set(KINDS)
