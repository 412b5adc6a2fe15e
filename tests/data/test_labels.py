"""Classes, their names, their order and their numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import fails, jsonl, records

from tessera import errors
from tessera.data.labels import find_classes, label_ids
from tessera.data.record import Record


def of(*labels):
    return [Record(values={"label": label}, place=f"a:{i}") for i, label in enumerate(labels, 1)]


def ids(found, *labels):
    return [label_ids(record, "label", found.numbers)[0] for record in of(*labels)]


@given(st.sets(st.text(min_size=1), min_size=2, max_size=9), st.randoms())
def test_the_order_of_records_does_not_matter(names, random):
    order = list(names)
    random.shuffle(order)
    found = find_classes(of(*order), "label")
    assert found == find_classes(of(*names), "label")
    assert sorted(set(found.numbers.values())) == list(range(len(found.names)))


@pytest.mark.parametrize("first", [0, 1])
@given(count=st.integers(2, 12))
def test_numbers_are_places_in_the_names_that_are_given(first, count):
    names = [f"class {chr(97 + number)}" for number in reversed(range(count))]
    numbers = [str(number) for number in range(first, first + count)]
    found = find_classes(of(*numbers), "label", names)
    assert found.names == tuple(names)
    assert ids(found, *numbers) == list(range(count))
    assert ids(found, *names) == list(range(count))


def test_some_of_the_numbers_do_if_they_tell_where_counting_begins():
    assert ids(find_classes(of("0", "2"), "label", ["a", "b", "c"]), "0", "2") == [0, 2]
    assert ids(find_classes(of("1", "3"), "label", ["a", "b", "c"]), "1", "3") == [0, 2]
    with pytest.raises(errors.InvalidArgumentError) as caught:
        find_classes(of("1", "2"), "label", ["a", "b", "c"])
    assert (caught.value.reason, caught.value.violations[0].field) == (
        "DATA_UNKNOWN_LABEL",
        "task.labels",
    )
    assert "from 0 or from 1" in caught.value.message
    assert "data.label_names" in caught.value.message


@pytest.mark.parametrize("said", [("0", "4"), ("a", "1"), ("-1", "0"), ("1.0", "2.0")])
def test_other_numbers_are_no_places(said):
    found = find_classes(of(*said), "label", ["a", "b", "c"])
    wrong = next(name for name in reversed(said) if name != "a")
    with pytest.raises(errors.InvalidArgumentError, match=f"there is no class `{wrong}`"):
        ids(found, wrong)


def test_names_that_are_numbers_are_names():
    found = find_classes(of("1", "2"), "label", ["2", "1"])
    assert ids(found, "1", "2") == [1, 0]


def test_a_version_s_classes_are_not_counted():
    found = find_classes(of("0", "1"), "label", (), ["bad", "good"])
    assert found.names == ("bad", "good")
    with pytest.raises(errors.InvalidArgumentError, match="there is no class `0`"):
        ids(found, "0")


def test_truth_is_spelt_in_many_ways():
    found = find_classes(of("True", "false", "TRUE", "False"), "label")
    assert found.names == ("false", "true")
    assert ids(found, "True", "false", "TRUE", "False") == [1, 0, 1, 0]
    assert find_classes(of("True", "false", "MIXED"), "label").names == ("MIXED", "True", "false")
    found = find_classes(of("true", "false"), "label", ["True", "False"])
    assert ids(found, "true", "false") == [0, 1]


NAMES = {"1": "World", "2": "Sports", "true": "yes"}


def test_classes_are_renamed_where_they_are_read():
    rows = [{"text": "x", "label": label} for label in (1, "2", True, "True", "World", [1, 2])]
    found = records({"a": jsonl(*rows)}, format="jsonl", label_names=NAMES)
    assert [found[f"a:{i}"]["label"] for i in range(1, 7)] == [
        "World",
        "Sports",
        "yes",
        "yes",
        "World",
        ("World", "Sports"),
    ]
    message = fails(
        "DATA_UNKNOWN_LABEL",
        "data.label_names",
        {"a": "text,label\nx,1\ny,7\n"},
        format="csv",
        label_names=NAMES,
    )
    assert "a:3: the class `7` has no name here, only `1`, `2`, `true` have" in message
