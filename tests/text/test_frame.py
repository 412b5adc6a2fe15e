"""What a tokenizer.json states of special tokens, judged by what the library adds."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from tessera.text.frame import Frame
from tessera.text.tokenizer import Tokenizer

from .conftest import learn, minilm

BERT = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
ROBERTA = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
LLAMA = processors.TemplateProcessing(
    single="[CLS] $A", pair="[CLS] $A [CLS]:1 $B:1", special_tokens=[("[CLS]", 2)]
)
MARIAN = processors.TemplateProcessing(
    single="$A [SEP]", pair="$A $B [SEP]", special_tokens=[("[SEP]", 3)]
)
OF_TWO = processors.TemplateProcessing(
    single="[CLS] $A",
    pair="$A:1 [SEP]:1 [SEP] $B:1 [SEP]",
    special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
)
"""Two texts with nothing around them that one has, and segments that come and go."""

PROCESSORS = [
    BERT,
    ROBERTA,
    LLAMA,
    MARIAN,
    OF_TWO,
    processors.Sequence([processors.ByteLevel(), BERT]),
]


def stating(processor, *, bare=False) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    """The library's tokenizer, and ours of the same file."""
    inner = tokenizers.Tokenizer.from_str(learn("wordpiece").to_json().decode())
    inner.post_processor = processor
    return inner, Tokenizer.from_json(inner.to_str().encode(), bare=bare)


@pytest.mark.parametrize("processor", PROCESSORS, ids=str)
@pytest.mark.parametrize("text", ["the quick fox", "日本語", "x"])
def test_texts_read_as_the_library_frames_them(processor, text):
    inner, ours = stating(processor)
    ids, other = ours.encode(text), ours.encode("the dog")
    assert ours.frame().around(ids) == inner.encode(text).ids
    tokens, second = ours.frame().around_pair(ids, other)
    both = inner.encode(text, "the dog")
    assert tokens == both.ids
    assert len(tokens) == len(ids) + len(other) + ours.frame().pair
    assert both.sequence_ids[second] == 1
    assert ours.frame().segments(second, len(tokens)) == both.type_ids
    short = ours.frame().without(3)
    rest, second = short.around_pair(ids, other)
    assert rest == tokens[: len(rest)]
    assert set(tokens[len(rest) :]) <= {3}
    assert rest[-1] != 3
    assert short.segments(second, len(rest)) == both.type_ids[: len(rest)]


@pytest.mark.parametrize("starts", [True, False])
def test_one_that_states_nothing_has_our_frame(starts):
    learned = learn("wordpiece").to_json()
    tokenizer = Tokenizer.from_json(learned, starts=starts)
    assert tokenizer.own_frame is None
    start, end = (tokenizer.start_id,), (tokenizer.end_id,)
    expected = Frame(before=start if starts else (), between=end, after=end)
    assert tokenizer.frame() == expected


def test_that_nothing_is_added_counts_only_where_it_may():
    _, strict = stating(processors.ByteLevel())
    assert strict.own_frame is None
    _, bare = stating(processors.ByteLevel(), bare=True)
    assert bare.own_frame == Frame()
    assert bare.frame().around([7]) == [7]


def test_a_published_tokenizer():
    tokenizer = Tokenizer.from_json(minilm())
    assert tokenizer.own_frame == Frame(before=(101,), between=(102,), after=(102,))


@given(
    sizes=st.tuples(*[st.integers(0, 3)] * 3),
    first=st.lists(st.integers(0, 9)),
    second=st.lists(st.integers(0, 9)),
)
def test_sizes(sizes, first, second):
    before, between, after = ((10 + n,) * size for n, size in enumerate(sizes))
    frame = Frame(before=before, between=between, after=after)
    assert len(frame.around(first)) == len(first) + frame.one
    tokens, place = frame.around_pair(first, second)
    assert len(tokens) == len(first) + len(second) + frame.pair
    assert tokens[place : place + len(second)] == second
