from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.inference.engine.stop import StopMatcher


def split(text, cuts):
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def earliest(text, stops):
    found = [text.find(stop) for stop in stops if stop in text]
    return min(found, default=None)


@settings(deadline=None)
@given(
    text=st.text("abc", max_size=40),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=4),
    cuts=st.lists(st.integers(0, 40), max_size=10),
)
def test_the_text_ends_where_the_first_stop_begins_however_it_is_cut(text, stops, cuts):
    matcher, out = StopMatcher(stops), ""
    for piece in split(text, cuts):
        out += matcher.push(piece)
        assert text.startswith(out)
    out += matcher.finish()
    end = earliest(text, stops)
    assert matcher.stopped == (end is not None)
    if end is None:
        assert out == text
    elif len(stops) == 1:
        assert out == text[:end]
    else:
        # Cut by cut the stop that is complete first wins; nothing of it gets out.
        assert earliest(out, stops) is None


@settings(deadline=None)
@given(text=st.text("ab", max_size=30), stops=st.lists(st.text("ab", min_size=1, max_size=4)))
def test_only_what_may_become_a_stop_is_held_back(text, stops):
    matcher, out = StopMatcher(stops), ""
    for index, character in enumerate(text):
        out += matcher.push(character)
        if matcher.stopped:
            break
        held = text[len(out) : index + 1]
        assert not held or any(stop.startswith(held) for stop in stops)


def test_text_is_passed_on_at_once_where_no_stop_can_begin():
    matcher = StopMatcher(["END"])
    assert matcher.push("hello E") == "hello "
    assert matcher.push("N") == ""
    assert matcher.push("x") == "ENx"
    assert matcher.push("EN") == ""
    assert matcher.push("D of it") == ""
    assert matcher.stopped
    assert matcher.push("more") == ""
    assert matcher.finish() == ""
