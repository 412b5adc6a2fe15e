"""Columns that are joined to one text."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import fails, in_parquet, jsonl, records

from tessera.data.record import Roles
from tessera.data.template import Template

NAME = st.text(string.ascii_letters + string.digits + " _-é", min_size=1).filter(str.strip)
LITERAL = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
TEXT = Roles(required=("text",), optional=("label",))


@given(st.lists(st.tuples(LITERAL, NAME), min_size=1, max_size=5), LITERAL)
def test_what_stands_between_braces_is_replaced_and_nothing_else(parts, end):
    def escaped(text):
        return text.replace("{", "{{").replace("}", "}}")

    text = "".join(f"{escaped(literal)}{{{name}}}" for literal, name in parts) + escaped(end)
    template = Template.parse(text)
    assert template is not None
    assert template.columns == tuple(name for _, name in parts)
    expected = "".join(f"{literal}<{name}>" for literal, name in parts) + end
    assert template.fill(lambda name: f"<{name}>") == expected.strip()
    assert template.fill(lambda _: " \n") == ""


@pytest.mark.parametrize("text", ["{a", "a}", "{}", "{a!r}", "{a:>3}", "{a} {", "{{a}"])
def test_templates_that_are_none(text):
    with pytest.raises(ValueError):
        Template.parse(text)


@pytest.mark.parametrize("text", ["title", "a.b.0", "{{title}}", ""])
def test_names_are_no_templates(text):
    assert Template.parse(text) is None


ROWS = [
    {"title": "Hail", "body": "It fell.", "page": 3},
    {"title": "", "body": "No title here.", "page": 4},
]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_columns_are_joined_in_every_format(kind):
    content = jsonl(*ROWS) if kind == "jsonl" else in_parquet(ROWS)
    found = records({"a": content}, TEXT, format=kind, columns={"text": "{title}: {body} ({page})"})
    assert found["a:1"]["text"] == "Hail: It fell. (3)"
    assert found["a:2"]["text"] == ": No title here. (4)"
    found = records({"a": content}, TEXT, format=kind, columns={"text": "{title} {body}"})
    assert found["a:2"]["text"] == "No title here."


def test_columns_without_names_and_inside_others_are_joined():
    found = records(
        {"a": "x,Hail,It fell\ny,Snow,It lay\n"},
        TEXT,
        format="csv",
        header=False,
        columns={"text": "{1}. {2}", "label": "{0}/{1}"},
    )
    assert found["a:1"] == {"text": "Hail. It fell", "label": "x/Hail"}
    row = {"say": {"en": ["one", "two"]}}
    found = records(
        {"a": jsonl(row, row)}, TEXT, format="jsonl", columns={"text": "{say.en.1} {say.en.0}"}
    )
    assert found["a:1"] == {"text": "two one"}


def test_a_column_may_be_called_like_a_template():
    row = {"{odd}": "as it is", "odd": "not this"}
    found = records({"a": jsonl(row, row)}, TEXT, format="jsonl", columns={"text": "{odd}"})
    assert found["a:1"] == {"text": "as it is"}


def test_what_cannot_be_joined_is_told():
    columns = {"text": "{title} {bdy}"}
    message = fails(
        "DATA_COLUMN_MISSING",
        "data.columns.text",
        {"a": jsonl(*ROWS)},
        TEXT,
        format="jsonl",
        columns=columns,
    )
    assert "there is no column `bdy`" in message
    assert "perhaps `body`" in message
    for row, said in (
        ({"t": []}, "is [] where text is needed"),
        ({"t": None}, "the text is empty"),
    ):
        message = fails(
            "DATA_VALUE",
            "data.columns.text",
            {"a": jsonl(row)},
            TEXT,
            format="jsonl",
            columns={"text": "{t}{t}"},
        )
        assert said in message
