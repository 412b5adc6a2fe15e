"""Texts as requests: what goes into one, and where an error says that it is."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.client import batches
from tessera.client.inputs import to_inputs, to_questions, to_scored
from tessera.client.results import Results

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(max_examples=50)
@given(st.lists(TEXT, max_size=60), st.integers(1, 20), st.integers(1, 2000))
def test_requests_hold_all_items_in_order_and_no_more_than_they_may(texts, most, size):
    items, parts = to_inputs(texts), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "REQUEST_BYTES", size)
        patch.setattr(batches, "MAX_ITEMS", most)
        done = list(batches.ask(lambda some: parts.append(some) or some, list, items))
    assert [item for part in done for item in part] == items
    assert parts == done
    for part in parts:
        assert 1 <= len(part) <= most
        assert len(part) == 1 or sum(item.ByteSize() for item in part) <= size
    for part, following in itertools.pairwise(parts):
        full = len(part) == most
        assert full or sum(i.ByteSize() for i in [*part, following[0]]) > size


@settings(max_examples=50)
@given(st.integers(1, 300), st.integers(1, 100))
def test_messages_that_are_too_long_are_halved(count, room):
    items = to_inputs(["x"] * count)

    def call(some):
        if len(some) > room:
            raise errors.ResourceExhaustedError("too large", reason="MESSAGE_TOO_LARGE")
        return some

    done = list(batches.ask(call, list, items))
    assert sum(map(len, done)) == count
    assert max(map(len, done)) <= room


def test_one_item_that_is_too_long_and_services_without_room_are_told():
    for reason, count in [(None, 1), ("QUEUE_FULL", 5)]:
        calls = []

        def call(some, calls=calls, reason=reason):
            calls.append(some)
            raise errors.ResourceExhaustedError("no", reason=reason)

        with pytest.raises(errors.ResourceExhaustedError):
            list(batches.ask(call, list, to_inputs(["x"] * count)))
        assert len(calls) == 1


def test_errors_count_all_items():
    def call(some):
        if "bad" in (texts := [item.text for item in some]):
            field = f"inputs[{texts.index('bad')}].text"
            raise errors.InvalidArgumentError.at(field, "it is bad", "BAD", {"a": "b"})
        return some

    texts = ["good"] * 3000
    texts[2500] = "bad"
    with pytest.raises(errors.InvalidArgumentError) as caught:
        list(batches.ask(call, list, to_inputs(texts)))
    found = caught.value
    assert str(found) == found.message == "inputs[2500].text: it is bad"
    assert found.violations == (errors.Violation("inputs[2500].text", "it is bad"),)
    assert (found.reason, found.metadata) == ("BAD", {"a": "b"})


def test_errors_about_other_fields_stay():
    with pytest.raises(errors.InvalidArgumentError) as caught, batches.counted_from(7):
        raise errors.InvalidArgumentError.at("top_k", "it is bad", "BAD")
    assert caught.value.message == "top_k: it is bad"
    assert caught.value.violations[0].field == "top_k"


def test_texts_ids_and_pairs():
    assert to_inputs("a") == [pb.Input(text="a")]
    assert to_inputs(["a", (1, 2)]) == [pb.Input(text="a"), pb.Input(tokens=pb.Tokens(ids=[1, 2]))]
    assert to_inputs(["a", "b"], ["c", "d"])[1] == pb.Input(text="b", pair="d")
    assert to_inputs("a", "b") == [pb.Input(text="a", pair="b")]
    assert to_inputs([]) == []
    (scored,) = to_scored("a", "b")
    assert (scored.target.text, scored.context.text) == ("a", "b")
    assert not to_scored([[1]])[0].HasField("context")
    (asked,) = to_questions([("a", (1, 2))])
    assert (asked.question.text, asked.context.tokens.ids) == ("a", [1, 2])


@pytest.mark.parametrize(
    ("call", "field", "reason"),
    [
        (lambda: to_inputs([1, 2]), "texts[0]", "INVALID_FIELD"),
        (lambda: to_inputs([[1], [1 << 40]]), "texts[1]", "INVALID_FIELD"),
        (lambda: to_inputs(["a", "\ud800"]), "texts[1]", "INVALID_FIELD"),
        (lambda: to_inputs([["a"]]), "texts[0]", "INVALID_FIELD"),
        (lambda: to_inputs(["a"], [3]), "pairs[0]", "INVALID_FIELD"),
        (lambda: to_inputs(["a", "b"], ["c"]), "pairs", "NUMBERS_DIFFER"),
        (lambda: to_inputs(["a", "b"], "c"), "pairs", "NUMBERS_DIFFER"),
        (lambda: to_scored(["a"], []), "contexts", "NUMBERS_DIFFER"),
        (lambda: to_scored("a", [3]), "contexts[0]", "INVALID_FIELD"),
        (lambda: to_questions([("a", "b"), (3, "c")]), "questions[1].question", "INVALID_FIELD"),
        (lambda: to_questions([("a", [0.5])]), "questions[0].context", "INVALID_FIELD"),
    ],
)
def test_what_is_no_text(call, field, reason):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        call()
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field


def test_results_are_sequences():
    results = Results(values=("a", "b"), versions=(1, 2))
    assert list(results) == ["a", "b"]
    assert (len(results), results[1], results[:1], "b" in results) == (2, "b", ("a",), True)
