"""Whatever a file states is followed, known to be irrelevant, or named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.models.huggingface.statement import UNSET, Known, Statement, open_statement, plain

NAMES = st.text(min_size=1, max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=200)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


def read_some(value, draw, path=""):
    """Read what is drawn of a value, as deep as it goes; returns the keys that nobody read."""
    left = []
    if isinstance(value, list):
        for item in value:
            left += read_some(item, draw)
    elif isinstance(value, Statement):
        for name in list(value._values):
            if not draw(st.booleans()):
                left.append(name)
            elif draw(st.booleans()):
                assert value.whole(name) == value._values[name]
            else:
                left += read_some(value[name], draw)
    return left


@given(content=VALUES, data=st.data())
def test_every_key_that_nobody_read_is_named(content, data):
    holder, value = open_statement(content)
    left = read_some(value, data.draw)
    notes = list(holder.unfollowed())
    assert len(notes) == len(left)
    for name in left:
        assert any(plain(name) in note for note in notes)
    assert not any(ord(character) < 32 for note in notes for character in note)


@given(content=st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_key_in_a_value_is_named(content):
    (note,) = Statement({"outer": content}).unfollowed()
    inside = json.dumps(content)
    assert len(note) < 300 or len(inside) > 200
    for name in keys(content):
        assert plain(name) in note or plain(json.dumps(name, ensure_ascii=False)) in note


def keys(value):
    """The keys of all objects in a value that hold no object with keys themselves."""
    if isinstance(value, list):
        return [name for item in value for name in keys(item)]
    if isinstance(value, dict):
        return [name for key, item in value.items() for name in keys(item) or [key]]
    return []


@pytest.mark.parametrize(("value", "noted"), [(0, False), (None, False), (2, True), ([0], True)])
def test_a_known_key_is_left_out_only_where_its_value_changes_nothing(value, noted):
    statement = Statement({"chunks": value, "name": "x"})
    statement.know({"name": Known(reason="a name")})
    statement.know({"chunks": Known(reason="the same numbers", neutral=UNSET, otherwise="is odd")})
    expected = [f"chunks {json.dumps(value)} is odd"] if noted else []
    assert list(statement.unfollowed()) == expected


def test_defaults_stand_in_for_what_is_not_stated():
    statement = Statement({"a": None, "c": 3})
    over = statement.over({"a": 1, "b": {"d": 2}})
    assert over["a"] is None
    assert over["b"] == {"d": 2}
    assert over.get("e", 5) == 5
    assert "b" not in over
    with pytest.raises(KeyError):
        over["e"]
    assert list(statement.unfollowed()) == ["c 3 is not followed: nothing here knows it"]
    statement.over({}).note("a", "is read as 0")
    assert next(statement.unfollowed()) == "a is read as 0"


def test_it_cannot_be_unpacked_unseen():
    with pytest.raises(TypeError):
        {**Statement({"a": 1})}


def test_a_key_within_is_named_with_its_path():
    statement = Statement({"rope": {"type": "linear", "factor": 2}, "list": [[{"x": 1}]]})
    assert statement["rope"]["type"] == "linear"
    assert statement["list"][0][0].get("y") is None
    assert list(statement.unfollowed()) == [
        "rope.factor 2 is not followed: nothing here knows it",
        "list[0][0].x 1 is not followed: nothing here knows it",
    ]
