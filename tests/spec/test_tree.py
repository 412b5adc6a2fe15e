"""Merge keys, and the bounds of what a spec can be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.spec.document import parse_document
from tessera.spec.tree import MAX_DEPTH, parse

REST = "name: a\ndata: {files: [x]}\n"


def model(text):
    return parse_document(f"{REST}{text}", "f.yaml", Path()).spec.model


def test_fields_of_a_merge_stand_in_for_what_is_not_named():
    found = model("model: {<<: {family: gpt, preset: tiny, layers: 2}, layers: 3}")
    assert (found.family, found.preset, found.layers) == ("gpt", "tiny", 3)


def test_of_several_the_earlier_one_wins_wherever_the_key_stands():
    found = model("model: {heads: 4, <<: [{family: gpt, layers: 2}, {layers: 5, width: 64}]}")
    assert (found.family, found.layers, found.width, found.heads) == ("gpt", 2, 64, 4)


def test_an_anchor_of_another_place_merges_and_nests():
    spec = parse_document(
        "name: a\nlabels: &l {team: vision}\ndata: {files: [x], columns: {<<: *l, text: body}}\n"
        "model: {family: gpt, <<: {<<: {layers: 2}, heads: 2}}\n",
        "f.yaml",
        Path(),
    ).spec
    assert dict(spec.data.columns) == {"team": "vision", "text": "body"}
    assert (spec.model.layers, spec.model.heads) == (2, 2)


def test_a_mistake_in_what_is_merged_has_its_own_place():
    with pytest.raises(errors.InvalidArgumentError, match=r"f.yaml:3:35: .*layers") as caught:
        model("model: {family: gpt, <<: {layers: many}}")
    assert caught.value.reason == "WRONG_TYPE"


def test_a_quoted_name_is_a_name():
    with pytest.raises(errors.InvalidArgumentError, match="unknown field `<<`"):
        model('model: {"<<": {family: gpt}}')


NAMES = st.sampled_from("abcd")
MAPPINGS = st.dictionaries(NAMES, st.integers(0, 9), max_size=4)


@given(MAPPINGS, st.lists(MAPPINGS, max_size=3), st.integers(0, 4))
def test_merges_mean_what_they_mean_to_yaml(own, merged, place):
    pairs = [f"{name}: {value}" for name, value in own.items()]
    flow = [f"{{{', '.join(f'{n}: {v}' for n, v in mapping.items())}}}" for mapping in merged]
    pairs.insert(min(place, len(pairs)), f"<<: [{', '.join(flow)}]")
    text = f"{{{', '.join(pairs)}}}"
    node = parse(text, "f.yaml")
    mine = {key.value: int(value.value) for key, value in node.value}
    assert mine == yaml.safe_load(text)
    assert len(node.value) == len(mine)


def lol(width, depth):
    lines = ["a0: &a0 x"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, depth)]
    return "\n".join(lines)


def quine(width, depth):
    lines = ["a0: &a0 {k: v}"]
    for i in range(1, depth):
        inner = ", ".join(f"k{j}: *a{i - 1}" for j in range(width))
        lines.append(f"a{i}: &a{i} {{{inner}}}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "lists": ("[" * 5000, f"more than {MAX_DEPTH} levels"),
        "closed lists": ("[" * 5000 + "]" * 5000, f"more than {MAX_DEPTH} levels"),
        "mappings": ("{a: " * 5000 + "}" * 5000, f"more than {MAX_DEPTH} levels"),
        "keys": ("? " * 5000, f"more than {MAX_DEPTH} levels"),
        "items": ("- " * 5000, f"more than {MAX_DEPTH} levels"),
        "blocks": ("\n".join(" " * i + "a:" for i in range(1000)), f"more than {MAX_DEPTH} levels"),
        "bomb": (lol(10, 10), "over 200,000 values"),
        "bomb of mappings": (quine(10, 10), "over 200,000 values"),
        "bomb of merges": ("a: &a {" + ", ".join(f"k{i}: [{'x, ' * 100}]" for i in range(100))
                           + "}\nb: [" + "{<<: *a}, " * 100 + "]", "over 200,000 values"),
        "loop": ("a: &a [*a]", "inside of what it names"),
        "loop of fields": ("a: &a {b: *a}", "inside of what it names"),
        "loop of merges": ("a: &a {<<: *a}", "inside of what it names"),
        "long loop": ("a: &a [{b: [{c: *a}]}]", "inside of what it names"),
        "merged number": ("a: {<<: 3}", "takes fields"),
        "merged list of numbers": ("a: {<<: [{b: 1}, 2]}", "takes fields"),
        "merged twice": ("a: {<<: {b: 1}, <<: {c: 1}}", "there twice"),
        "half a pair": ('a: "\\uD800"', "surrogate"),
        "unknown anchor": ("a: *b", "undefined alias"),
    }.values(),
    ids=lambda value: "" if " " in str(value) else None,
)  # fmt: skip
def test_one_clear_line(text, words):
    with pytest.raises(errors.InvalidArgumentError, match=words) as caught:
        parse(text, "f.yaml")
    assert caught.value.reason == "BAD_YAML"
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("f.yaml:")
    assert len(caught.value.message) < 300


def test_many_aliases_of_small_things_are_fine():
    text = f"a: &a x\nb: [{', '.join(['*a'] * 10_000)}]"
    assert len(parse(text, "f.yaml").value[1][1].value) == 10_000
