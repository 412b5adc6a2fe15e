"""What is said of data that is broken, empty or of the wrong kind."""

from __future__ import annotations

import pytest
from reading import ROWS, TAGS, content_of, fails, in_parquet, jsonl

from tessera.data.record import Roles

BROKEN = [
    ("jsonl", '{"text": "a", "label": 1}\n{"text": \n', "a:2: not JSON"),
    ("jsonl", '{"text": "a", "label": 1}\n["text"]\n', "a:2: a list where an object is needed"),
    ("jsonl", '{"text": "a",\n"label": 1}\n', "a:1: not JSON, which has one object per line here"),
    ("jsonl", '\n["text"]\n', "a:1: a str where an object is needed"),
    ("jsonl", '[{"text": "a", "label": 1}, []]', "a:2: a list where an object is needed"),
    ("jsonl", '["text", 1]\n["more", 2]\n', "a:2: not JSON, which has one object per line here"),
    ("jsonl", '[\n{"text": "a"},\n{"text" 5}\n]', "a:3: not JSON"),
    ("jsonl", '[{"text": "a", "label": 1}', "a:1: not JSON"),
    ("jsonl", "[" * 100_000, "a:1: not JSON"),
    ("csv", 'text,label\n"two\nlines",1\nx,y,z\n', "a:4: 3 cells, but 2 columns: text, label"),
    ("csv", "text,label\nx,y\nz\n", "a:3: 1 cells"),
    ("csv", 'text,label\nx,y\n"open,1\nz,1\n', "a:3: not CSV: unexpected end of data"),
    ("csv", 'text,label\n"x"y,1\n', "a:2: not CSV"),
    ("csv", "text,text\nx,y\n", "a:1: two columns are named `text`"),
    ("tsv", "text\tlabel\nx y\n", "a:2: 1 cells, but 2 columns"),
]


@pytest.mark.parametrize(("kind", "content", "said"), BROKEN)
def test_broken_lines(kind, content, said):
    assert said in fails("DATA_BROKEN_LINE", "data.files", {"a": content}, format=kind)


WRONG = [
    ({"text": "x", "label": None}, "label", "the label is empty"),
    ({"text": " \n", "label": 1}, "text", "the text is empty"),
    ({"text": 5, "label": 1}, "text", "the text is 5 where text is needed"),
    ({"text": "\ud800", "label": 1}, "text", "half a surrogate pair"),
    ({"text": "x", "label": float("nan")}, "label", "the label is nan where text is needed"),
    ({"text": "x", "label": [None]}, "label", "the label is None where text is needed"),
    ({"text": "x", "label": 1, "text_pair": {}}, "text_pair", "the text_pair is {}"),
    ({"text": ["x" * 99], "label": 1}, "text", "the text is a list where text is needed"),
]


@pytest.mark.parametrize(("row", "role", "said"), WRONG)
def test_values_that_say_nothing_or_the_wrong_thing(row, role, said):
    good = {"text": "x", "label": 1}
    message = fails("DATA_VALUE", f"data.columns.{role}", {"a": jsonl(good, row)}, format="jsonl")
    assert "a:2: " in message
    assert said in message


@pytest.mark.parametrize(
    ("roles", "row", "role", "said"),
    [
        (TAGS, {"tokens": ["a", "b"], "tags": ["O"]}, "tags", "a:1: 2 tokens, but 1 tags"),
        (TAGS, {"tokens": 1, "tags": "O"}, "tokens", "where a list is needed"),
        (TAGS, {"tokens": [], "tags": []}, "tokens", "the tokens is empty"),
        (Roles(required=("answer_start",)), {"answer_start": 1.5}, "answer_start", "whole number"),
        (Roles(required=("answer_start",)), {"answer_start": "x"}, "answer_start", "whole number"),
        (Roles(required=("score",)), {"score": float("nan")}, "score", "where a number is needed"),
        (Roles(required=("score",)), {"score": True}, "score", "where a number is needed"),
    ],
)
def test_values_of_other_kinds(roles, row, role, said):
    message = fails("DATA_VALUE", f"data.columns.{role}", {"a": jsonl(row)}, roles, format="jsonl")
    assert said in message


def test_a_missing_column_is_told_from_those_that_are_there():
    message = fails(
        "DATA_COLUMN_MISSING", "data.columns.label", {"a": "text,lable\nx,1\n"}, format="csv"
    )
    assert "a:2: there is no column `label`; there are `text`, `lable`" in message
    assert "perhaps `lable`" in message
    fails("DATA_COLUMN_MISSING", "data.columns.text", {"a": "x,1\n"}, format="csv", header=False)
    message = fails(
        "DATA_COLUMN_MISSING",
        "data.columns.label",
        {"a": in_parquet([{"text": "x", "lbl": 1}])},
        format="parquet",
    )
    assert "there are `text`, `lbl`" in message
    # Optional, but asked for.
    message = fails(
        "DATA_COLUMN_MISSING",
        "data.columns.text_pair",
        {"a": jsonl(*ROWS)},
        format="jsonl",
        columns={"text_pair": "second"},
    )
    assert "there is no column `second`; there are `text`, `label`" in message


def test_data_that_is_no_text_or_no_parquet():
    content = '{"text": "é", "label": 1}\n{"text": "é", "label": 1}'.encode("latin-1")
    message = fails("DATA_NOT_TEXT", "data.files", {"a": content}, format="jsonl")
    assert "a:1: byte 10 (0xe9) is not UTF-8" in message
    for content in (b"PAR1 or not", in_parquet(ROWS)[:-9]):
        fails("DATA_UNREADABLE", "data.files", {"a": content}, format="parquet")


def test_neither_part_is_empty():
    good = jsonl(*ROWS)
    for content in ("", "\n\n", "[]", " [\n] "):
        fails("DATA_EMPTY", "data.files", {"a": content}, format="jsonl")
    fails("DATA_EMPTY", "data.files", {"a": "text,label\n"}, format="csv")
    fails("DATA_EMPTY", "data.files", {"a": in_parquet(ROWS[:1])}, format="parquet", max_bytes=1)
    fails("DATA_EMPTY_SPLIT", "data.files", {"a": jsonl(ROWS[0])}, format="jsonl")
    urls, blobs = content_of({"a": good, "b": ""})
    fails(
        "DATA_EMPTY_SPLIT",
        "data.validation_files",
        urls[:1],
        read_blob=blobs,
        validation_files=urls[1:],
        format="jsonl",
    )
