from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from tessera import errors
from tessera.text.special import BERT, END_OF_TEXT, SEQ2SEQ
from tessera.text.tokenizer import Tokenizer

from .conftest import TEXTS, learn, minilm

SOME = settings(max_examples=30, deadline=None)
NAMES = [*BERT.names, *SEQ2SEQ.names, END_OF_TEXT]
# Texts in which names of special tokens are written.
texts = st.lists(
    st.text(st.sampled_from("the fox, n't.  \n日é<s>[]_"), max_size=5) | st.sampled_from(NAMES)
).map("".join)


@SOME
@given(text=texts)
def test_no_special_token_comes_out_of_a_text(tokenizer, text):
    assert tokenizer.special_ids & {*tokenizer.encode(text)} <= {tokenizer.unknown_id}


@pytest.mark.parametrize("name", ["byte_bpe", "llama"])
def test_the_names_of_special_tokens_are_plain_text(get_tokenizer, name):
    tokenizer = get_tokenizer(name)
    text = f"a{END_OF_TEXT}b</s>c [MASK]"
    ids = tokenizer.encode(text)
    assert tokenizer.decode([tokenizer.start_id, *ids, tokenizer.end_id]) == text


def test_a_model_that_finds_them_as_words_does_not_find_them_here():
    vocabulary = [(name, 0.0) for name in ("<unk>", "<s>", "</s>")]
    vocabulary += [(character, -3.0) for character in "▁abcs<>/unk"]
    inner = tokenizers.Tokenizer(models.Unigram(vocabulary, 0, byte_fallback=False))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = tokenizers.decoders.Metaspace()
    assert inner.encode("a</s>b").ids[2] == 2
    tokenizer = Tokenizer.from_json(inner.to_str().encode())
    text = "a</s>b <unk> z<s>"
    encoded = tokenizer.encode_offsets(text)
    assert tokenizer.decode(encoded.ids) == "a</s>b <unk> <s>"
    assert encoded.ids.count(tokenizer.unknown_id) == 1
    assert tokenizer.special_ids & {*encoded.ids} == {tokenizer.unknown_id}
    assert encoded.ids == tokenizer.encode(text) == tokenizer.encode_batch([text])[0]
    said = [text[start:end] for start, end in encoded.offsets]
    assert said == ["a", "a", *"</s>b", " ", *"<unk>", " ", "z", *"<s>"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("wordpiece", "the [MASK] fox"), ("minilm", "the [MASK] fox"), ("llama", "the </s> fox")],
)
def test_marked_texts_name_special_tokens(get_tokenizer, name, text):
    tokenizer = get_tokenizer(name)
    special = tokenizer.end_id if name == "llama" else tokenizer.mask_id
    before, after = (tokenizer.encode(part) for part in ("the", "fox"))
    marked = tokenizer.encode_marked(text)
    here = marked.index(special)
    assert marked[: len(before)] == before
    assert marked[here + 1 :][-len(after) :] == after
    assert tokenizer.encode(text).count(special) == 0


@SOME
@given(data=st.lists(texts, max_size=4))
def test_all_ways_to_encode_agree(tokenizer, data):
    ids = [tokenizer.encode(text) for text in data]
    assert tokenizer.encode_batch(data) == ids
    assert [tokenizer.encode_offsets(text).ids for text in data] == ids
    assert tokenizer.encode_offsets_batch(data) == [tokenizer.encode_offsets(t) for t in data]


@SOME
@given(text=texts)
def test_offsets_lie_in_the_text_in_order(tokenizer, text):
    encoded = tokenizer.encode_offsets(text)
    assert len(encoded.ids) == len(encoded.offsets)
    assert all(0 <= start <= end <= len(text) for start, end in encoded.offsets)
    starts = [start for start, _ in encoded.offsets]
    assert starts == sorted(starts)
    for start, end in encoded.offsets:
        said = text[start:end]
        assert said == said.strip() or not said.strip()


@pytest.mark.parametrize("name", ["byte_bpe", "wordpiece", "unigram", "minilm", "llama"])
def test_offsets_find_the_words_again(get_tokenizer, name):
    text = "日本 import the  other\nfox"
    encoded = get_tokenizer(name).encode_offsets(text)
    at = text.index("other")
    inside = [(start, end) for start, end in encoded.offsets if start < at + 5 and end > at]
    inside = [(start, end) for start, end in inside if text[start:end].strip()]
    assert (inside[0][0], inside[-1][1]) == (at, at + 5)


@SOME
@given(words=st.lists(st.text(st.sampled_from("thefox,日é"), max_size=4), max_size=6))
def test_words_own_their_tokens(name, tokenizer, words):
    ids, owners = tokenizer.encode_words(words)
    assert ids == tokenizer.encode(" ".join(words))
    assert owners == sorted(owners)
    assert all(0 <= owner < len(words) for owner in owners)
    if name in {"byte_bpe", "wordpiece", "character", "minilm"}:
        for index, word in enumerate(words):
            own = [token for token, owner in zip(ids, owners, strict=True) if owner == index]
            said = tokenizer.decode(own).replace(" ", "")
            assert tokenizer.unknown_id in own or said == tokenizer.decode(
                tokenizer.encode(word)
            ).replace(" ", "")


def test_words_are_encoded_as_in_running_text(get_tokenizer):
    words = ["The", "fox", ",", "", "imports"]
    ids, owners = get_tokenizer("minilm").encode_words(words)
    assert ids == get_tokenizer("minilm").encode("The fox, imports")
    assert owners == [0, 1, 2, 4]


def test_a_word_owns_the_space_before_it(get_tokenizer):
    ids, owners = get_tokenizer("character").encode_words(["at", "", "the", "fo"])
    assert len(ids) == len("at  the fo")
    assert owners == [0, 0, 1, 2, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("name", "word", "text"),
    [
        ("byte_bpe", "x import", " import"),
        ("wordpiece", "x import", "import"),
        ("minilm", "embeddings", "##s"),
        ("llama", "x import", "import"),
        ("character", "x", "x"),
    ],
)
def test_one_token_is_shown_as_people_read_it(get_tokenizer, name, word, text):
    tokenizer = get_tokenizer(name)
    assert tokenizer.token_text(tokenizer.encode(word)[-1]) == text
    assert tokenizer.token_text(tokenizer.end_id) == tokenizer.special.end
    assert tokenizer.token_text(tokenizer.vocab_size) == ""


def test_json_keeps_everything(tokenizer):
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.to_json() == tokenizer.to_json()
    for each in ("special", "special_ids", "vocab_size", "end_id", "start_id", "pad_id"):
        assert getattr(again, each) == getattr(tokenizer, each)
    assert again.mask_id == tokenizer.mask_id
    assert again.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)
    marked = f"the {tokenizer.special.end} fox"
    assert again.encode_marked(marked) == tokenizer.encode_marked(marked)
    ids = list(range(tokenizer.vocab_size))[:400]
    assert again.decode(ids) == tokenizer.decode(ids)


def test_what_a_published_tokenizer_adds_is_left_out(get_tokenizer):
    source = json.loads(minilm())
    assert all(source[each] for each in ("truncation", "padding", "post_processor"))
    tokenizer = get_tokenizer("minilm")
    inner = tokenizers.Tokenizer.from_str(minilm().decode())
    inner.no_truncation()
    inner.no_padding()
    long = "the quick brown fox " * 99
    assert tokenizer.encode(long) == inner.encode(long).ids[1:-1]
    assert len(tokenizer.encode("fox")) == 1
    assert tokenizer.vocab_size == 30522
    assert (tokenizer.start_id, tokenizer.end_id) == (101, 102)
    assert (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.mask_id) == (0, 100, 103)


def test_names_that_are_mere_words_become_special(get_tokenizer):
    tokenizer = get_tokenizer("words")
    assert tokenizer.special_ids == {0, 1}
    assert tokenizer.decode([5, 1, 7]) == "the fox"


def test_what_is_missing_falls_back_to_the_end(get_tokenizer):
    tokenizer = get_tokenizer("byte_bpe")
    assert tokenizer.start_id == tokenizer.pad_id == tokenizer.end_id == 0
    assert tokenizer.mask_id is None
    assert tokenizer.unknown_id is None


@pytest.mark.parametrize("content", [b"{}", b"no json", b"\xff\xfe"])
def test_what_is_no_tokenizer_is_refused(content):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        Tokenizer.from_json(content)
    assert caught.value.reason == "INVALID_TOKENIZER"


def test_texts_must_have_an_end():
    source = learn("character").to_json().decode()
    with pytest.raises(errors.InvalidArgumentError) as caught:
        Tokenizer.from_json(source.replace(END_OF_TEXT, "<stop>").encode())
    assert caught.value.reason == "TOKENIZER_WITHOUT_END"
