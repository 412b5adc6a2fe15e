"""What files seem to be, and what is said of those that are not what the spec says."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import ROWS, fails, in_parquet, jsonl

from tessera.data.sniff import FileForm, has_header, sniff

CSV, TSV, JSONL = "csv", "tsv", "jsonl"
PROSE = "It rained, and it rained.\nThen, at noon, it stopped; nobody knew why.\nThe end.\n"
NO_HEADER = '"Wall St. falls","Shares fell, again, on Monday.",3\n"Cup final","They won.",2\n'

FORMS = [
    ("a.csv", "text,label\nx,1\n", FileForm(format=CSV, delimiter=",", header=True)),
    ("a.csv", "text;label\nx, y;1\nz, y;2\n", FileForm(format=CSV, delimiter=";", header=True)),
    ("a.csv", "text\tlabel\nx\t1\n", FileForm(format=TSV, delimiter="\t", header=True)),
    ("a.csv", NO_HEADER, FileForm(format=CSV, delimiter=",", header=False)),
    ("a.csv", "text\nfirst\nsecond\n", FileForm(format=CSV, delimiter=",", header=True)),
    ("a.csv", '"open, and\nmore",x\ny,z\n', FileForm(format=CSV, delimiter=",", header=False)),
    ("a.txt", "text\tlabel\nx\t1\n", FileForm(format=TSV, delimiter="\t", header=True)),
    ("a.txt", "1|one\n2|two\n3|three\n", FileForm(format=CSV, delimiter="|", header=False)),
    ("a.txt", PROSE, FileForm(format="text")),
    ("a.txt", "", FileForm(format="text")),
    ("a.txt", "one, two\n", FileForm(format="text")),
    ("a.txt", '{"text": "x"}\n{"text": "y"}\n', FileForm(format=JSONL)),
    ("a.csv", '[{"text": "x"}]', FileForm(format=JSONL)),
    ("a", '[\n  {\n    "text": "x"', FileForm(format=JSONL)),
    ("a.txt", "{braces} are no JSON\n", FileForm(format="text")),
    ("a.txt", "[1] a footnote\n", FileForm(format="text")),
]


@pytest.mark.parametrize(("name", "text", "form"), FORMS)
def test_forms(name, text, form):
    assert sniff(name, text) == form


HEADERS = [
    (["text,label", "x,1"], True),
    (["Review Text,Star Rating", "x,1"], True),
    ([",text,label", "0,x,1", "1,y,1"], True),  # As pandas writes its index.
    (["0,1,2", "x,y,z"], True),  # As pandas writes columns without names.
    (["título,clase", "x,1"], True),
    (["good film,positive", "bad film,negative", "a film,positive"], False),
    (["3,It was a long way home.", "2,x"], False),
    (["It was a long way home.,the end", "x,y"], False),
    (["a,", "x,1"], False),
    (["a,a", "x,1"], False),
    (["2021-01-01,x", "2021-01-02,y"], False),
    (["3.5,x", "2,y"], False),
]


@pytest.mark.parametrize(("lines", "expected"), HEADERS)
def test_headers(lines, expected):
    assert has_header(list(csv.reader(lines))) is expected


CELL = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=12)


@given(st.lists(st.tuples(CELL, st.integers(0, 99), CELL), min_size=3, max_size=30))
def test_what_csv_writes_is_csv(rows):
    out = io.StringIO()
    csv.writer(out).writerows([("title", "count", "body"), *rows])
    assert sniff("x.csv", out.getvalue()) == FileForm(format=CSV, delimiter=",", header=True)


@given(st.lists(st.dictionaries(CELL, CELL, min_size=1, max_size=3), min_size=1, max_size=9))
def test_what_json_writes_is_json(rows):
    assert sniff("x.txt", jsonl(*rows)).format == JSONL
    assert sniff("x.txt", json.dumps(rows, indent=1)).format == JSONL


WRONG = [
    # What the file holds, what the spec says, reason, field, words.
    (NO_HEADER, {"format": CSV}, "DATA_COLUMN_MISSING", "text", "set `data.header: false`"),
    (
        "Rain today\tweather\nSnow today\tweather\n",
        {"format": TSV},
        "DATA_COLUMN_MISSING",
        "text",
        "set `data.header: false`",
    ),
    (
        "text,label\nx,1\ny,2\n",
        {"format": CSV, "header": False},
        "DATA_COLUMN_MISSING",
        "text",
        "set `data.header: true`",
    ),
    (
        "text;label\nx;1\ny;2\n",
        {"format": CSV},
        "DATA_COLUMN_MISSING",
        "text",
        "set `data.delimiter: ';'`",
    ),
    (
        "text\tlabel\nx, y\t1\ny\t2\n",
        {"format": CSV},
        "DATA_BROKEN_LINE",
        None,
        "set `data.format: tsv`",
    ),
    (
        "text,label\nx,1\ny,2\n",
        {"format": TSV},
        "DATA_COLUMN_MISSING",
        "text",
        "set `data.format: csv`",
    ),
]


@pytest.mark.parametrize(("content", "told", "reason", "role", "said"), WRONG)
def test_what_to_set_is_said(content, told, reason, role, said):
    field = f"data.columns.{role}" if role else "data.files"
    assert said in fails(reason, field, {"a.dat": content}, **told)


def test_other_formats_than_said():
    broken = "DATA_BROKEN_LINE"
    said = fails(broken, "data.files", {"a": "text,label\nx,1\ny,2\nz,1\n"}, format="jsonl")
    assert "set `data.format: csv`" in said
    said = fails("DATA_COLUMN_MISSING", "data.columns.text", {"a": jsonl(*ROWS)}, format="tsv")
    assert "set `data.format: jsonl`" in said
    said = fails("DATA_UNREADABLE", "data.files", {"a": jsonl(*ROWS)}, format="parquet")
    assert "set `data.format: jsonl`" in said
    said = fails("DATA_NOT_TEXT", "data.files", {"a": in_parquet(ROWS)}, format="jsonl")
    assert "set `data.format: parquet`" in said


@pytest.mark.parametrize("first", ["fine,fine,1", "x,,", "3,3"])
def test_a_first_line_that_cannot_be_a_header(first):
    content = f"{first}\n{first}\n"
    said = fails("DATA_BROKEN_LINE", "data.files", {"a.csv": content}, format="csv")
    assert "a.csv:1: two columns are named" in said
    assert "if this line is data, set `data.header: false`" in said


def test_nothing_is_said_of_what_is_as_the_spec_says():
    said = fails("DATA_VALUE", "data.columns.text", {"a": "text,label\nx,1\n,2\n"}, format="csv")
    assert "set `" not in said
