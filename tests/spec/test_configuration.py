"""Files of an operator's: what they say, and one line for every mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.spec.configuration import dump, parse_configuration, read


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    size: int = field(default=10, metadata={"least": 1, "most": 1000})
    share: float = field(default=0.5, metadata={"least": 0, "most": 1})
    most: int | None = 7
    on: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    name: str = field(metadata={"pattern": "[a-z]+", "hint": "letters"})
    colour: Colour = Colour.RED
    tags: tuple[str, ...] = field(default=(), metadata={"most": 2})

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise errors.InvalidArgumentError.at("name", "is bad", "INVALID_FIELD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    part: Part = field(default_factory=Part)
    parts: Mapping[str, Part] = field(default_factory=dict, metadata={"based_on": "part"})
    items: tuple[Named, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)


def of(text):
    return parse_configuration(text, "f.yaml", Whole)


def test_what_is_not_said_has_its_default():
    assert of("{}") == Whole()
    assert of("part: {size: 1e3}\npart_s: {}\n".replace("part_s", "parts")).part.size == 1000
    made = of(
        "parts: {a: {most: null}, b: {on: no}}\n"
        "part: {size: 20, share: .25}\n"
        "items: [{name: x, colour: blue, tags: [p, q]}]\n"
        "words: {/a/b: c}\n"
    )
    assert made.part == Part(size=20, share=0.25)
    assert made.parts == {
        "a": Part(size=20, share=0.25, most=None),
        "b": Part(size=20, share=0.25, on=False),
    }
    assert made.items == (Named(name="x", colour=Colour.BLUE, tags=("p", "q")),)
    assert made.words == {"/a/b": "c"}
    assert parse_configuration('{"part": null}', "f", Whole) == Whole()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prat: {}", "f.yaml:1:1: unknown field `prat`; did you mean `part`?"),
        ("part:\n  sise: 1", "f.yaml:2:3: unknown field `sise` in `part`; did you mean `size`?"),
        ("part: {size: 1, size: 2}", "f.yaml:1:17: `part.size` is there twice"),
        ("part: 7", "f.yaml:1:7: `part` must be fields (name: value), but here is the number `7`"),
        ("[]", "f.yaml:1:1: `the file` must be fields (name: value), but here is a list"),
        ("part: {size: big}", "f.yaml:1:14: `part.size` must be a whole number, but here is"),
        ("part: {size: 1.5}", "f.yaml:1:14: `part.size` must be a whole number, but here is"),
        ("part: {size: 0}", "f.yaml:1:14: `part.size` must be at least 1; here is 0"),
        ("part: {size: 1001}", "f.yaml:1:14: `part.size` must be at most 1,000; here is 1,001"),
        ("part: {share: 2}", "f.yaml:1:15: `part.share` must be at most 1; here is 2.0"),
        ("part: {share: .nan}", "f.yaml:1:15: `part.share` must be a number, but here is"),
        ("part: {on: 1}", "f.yaml:1:12: `part.on` must be true or false, but here is"),
        ("parts: {a: {size: 0}}", "f.yaml:1:19: `parts[a].size` must be at least 1"),
        ("parts: []", "f.yaml:1:8: `parts` must be names and values"),
        ("parts: {a: {}, a: {}}", "f.yaml:1:16: `a` is there twice in `parts`"),
        ("words: {a: true}", "f.yaml:1:12: `words[a]` must be text, but here is the truth value"),
        ("items: {}", "f.yaml:1:8: `items` must be a list"),
        ("items:\n- colour: red", "f.yaml:2:3: `items[0].name` is missing"),
        ("items: [{name: X}]", "f.yaml:1:16: `items[0].name` must be letters"),
        ("items: [{name: bad}]", "f.yaml:1:16: `items[0].name` is bad"),
        ("items: [{name: x, colour: green}]", "f.yaml:1:27: `items[0].colour` must be one of red,"),
        ("items: [{name: x, tags: [a, b, c]}]", "f.yaml:1:25: `items[0].tags` must be at most 2"),
        ("", "f.yaml: there is nothing in it"),
        ("part: [", "f.yaml:1:8: this is not YAML"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_line_with_its_place(text, line):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        of(text)
    assert caught.value.message.startswith(line)
    assert "\n" not in caught.value.message


def test_a_file(tmp_path):
    path = tmp_path / "f.yaml"
    with pytest.raises(errors.InvalidArgumentError) as caught:
        read(path, Whole)
    assert caught.value.message == f"{path}: there is no such file"
    path.write_text("part: {size: 3}")
    assert read(path, Whole).part.size == 3


PARTS = st.builds(
    Part,
    size=st.integers(1, 1000),
    share=st.floats(0, 1),
    most=st.none() | st.integers(-9, 9),
    on=st.booleans(),
)


@settings(deadline=None)
@given(PARTS, st.dictionaries(st.text("abc", min_size=1, max_size=3), PARTS, max_size=3))
def test_what_is_dumped_is_read_back_and_says_no_more_than_it_must(part, parts):
    whole = Whole(part=part, parts=parts)
    text = dump(whole)
    assert parse_configuration(text, "f", Whole) == whole
    assert (text == "{}") == (whole == Whole())
