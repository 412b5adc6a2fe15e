"""Texts of language models: what is held out says something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import content_of

from tessera import errors
from tessera.data.settings import DataSettings
from tessera.data.split import Text, split
from tessera.trainer.data.read import read_texts

BLANK = st.text(" \n\t\r\u3000", max_size=12)


def told(files, **settings):
    urls, blobs = content_of(files)
    train, held_out = read_texts(DataSettings(files=urls, **settings), blobs)
    return [text.content for text in train], [text.content for text in held_out]


@given(
    BLANK,
    st.text(min_size=2).filter(lambda text: len(text.strip()) > 1),
    BLANK,
    st.floats(0.001, 0.999),
)
def test_both_parts_of_a_single_text_say_something(before, said, after, share):
    (head,), (tail,) = split([Text(name="a", content=before + said + after)], share)
    assert head.content + tail.content == before + said + after
    assert head.content.strip()
    assert tail.content.strip()


def test_line_ends_are_no_tail():
    head, tail = told({"a": "word " * 10 + "end\n"}, held_out=0.01)
    assert (head, tail) == ([("word " * 10 + "en")], ["d\n"])
    _, tail = told({"a": "word " * 10 + "\n" * 500}, held_out=0.05)
    assert tail[0].strip()


def test_blank_files_are_left_out():
    for _ in range(3):
        train, held_out = told({"a": "one", "b": " \n\n", "c": "", "d": "two", "e": "\n"})
        assert sorted([*train, *held_out]) == ["one", "two"]
    head, tail = told({"a": "only", "b": "\n"}, held_out=0.25)
    assert (head, tail) == (["onl"], ["y"])


@pytest.mark.parametrize(
    ("content", "reason"), [("x\n", "DATA_EMPTY_SPLIT"), (" \n", "DATA_EMPTY")]
)
def test_too_little_to_hold_out(content, reason):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        told({"a": content})
    assert caught.value.reason == reason
