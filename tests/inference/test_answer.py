"""Where an answer is, and whether there is one."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.client.results import has_answer
from tessera.data.record import Record
from tessera.inference.tasks import answer
from tessera.inference.tasks.answer import Window, best_spans, no_answer, span_scores, windows
from tessera.trainer.tasks.question_answering import AnswerCollate, AnswerEncoder, QuestionAnswering

from .served import ask


@settings(max_examples=200, deadline=None)
@given(tokens=st.integers(1, 200), room=st.integers(1, 50), data=st.data())
def test_every_short_span_stands_whole_in_a_window(tokens, room, data):
    overlap = data.draw(st.integers(0, room // 2))
    parts = windows(tokens, room, overlap)
    assert all(1 <= count <= room for _, count in parts)
    assert all(count == room for _, count in parts[:-1])
    for first in range(tokens):
        last = min(first + max(overlap, 1), tokens) - 1
        assert any(begin <= first and last < begin + count for begin, count in parts)
    # No window is there for nothing.
    ends = [begin + count for begin, count in parts]
    assert ends == sorted(set(ends))
    assert ends[-1] == tokens


def test_a_span_has_its_best_score_over_all_windows():
    parts = [Window(begin=0, count=3, place=1), Window(begin=2, count=2, place=1)]
    first = np.array([[9, 9], [1, 0], [0, 2], [0, 1], [9, 9]], np.float32)
    second = np.array([[9, 9], [5, 0], [0, 4], [9, 9]], np.float32)
    scores = span_scores(0, 4, parts, [first, second], 2)
    assert scores.tolist() == [
        [1.0, 3.0],
        [2.0, 1.0],
        [5.0, 9.0],
        [4.0, -np.inf],
    ]


@pytest.mark.parametrize("longest", [1, 2, 9])
def test_spans_are_never_longer_than_allowed_nor_than_a_window(longest):
    parts = [Window(begin=0, count=3, place=0)]
    found, _ = best_spans(3, parts, [np.zeros((3, 2), np.float32)], longest, 99)
    spans = {(begin, end) for score, begin, end in found if score > -math.inf}
    assert spans == {(b, e) for b in range(3) for e in range(b, min(b + longest, 3))}


LOGITS = st.integers(2, 9).flatmap(
    lambda length: arrays.arrays(np.float32, (length, 2), elements=st.floats(-8, 8, width=32))
)


@settings(max_examples=100, deadline=None)
@given(
    tokens=st.integers(1, 60),
    room=st.integers(1, 20),
    longest=st.integers(1, 25),
    band=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_bands_find_what_all_spans_at_once_would(tokens, room, longest, band, seed):
    count = 1 + seed % 9
    parts = [
        Window(begin=begin, count=size, place=1)
        for begin, size in windows(tokens, room, min(longest, room // 2))
    ]
    draw = np.random.default_rng(seed)
    results = [draw.normal(size=(part.count + 2, 2)).astype(np.float32) for part in parts]
    most = min(longest, max(part.count for part in parts))
    whole = span_scores(0, tokens, parts, results, most)
    kept, answer.BAND = answer.BAND, band
    try:
        found, total = best_spans(tokens, parts, results, longest, count)
    finally:
        answer.BAND = kept
    assert total == pytest.approx(np.logaddexp.reduce(whole, axis=None))
    for score, begin, end in found:
        assert whole[begin, end - begin] == score
    best = np.sort(whole[np.isfinite(whole)])[::-1][:count]
    assert [score for score, *_ in found if score > -math.inf] == best.tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(LOGITS, min_size=1, max_size=4), st.floats(-20, 20))
def test_no_answer_is_one_more_span_of_the_least_sure_window(results, more):
    counts = [len(logits) - 1 for logits in results]
    begins = np.cumsum([0, *counts]).tolist()
    parts = [Window(begin=b, count=c, place=1) for b, c in zip(begins, counts, strict=False)]
    scores = span_scores(0, begins[-1], parts, results, 3)
    _, total = best_spans(begins[-1], parts, results, 3, 1)
    found = no_answer(total, results)
    empty = min(float(logits[0, 0]) + float(logits[0, 1]) for logits in results)
    others = np.exp(scores).sum()
    assert found == pytest.approx(math.exp(empty) / (math.exp(empty) + others), abs=1e-9)
    assert 0 < found < 1
    # Every window says it louder: its odds rise by as much.
    louder = [np.concatenate([logits[:1] + more / 2, logits[1:]]) for logits in results]
    risen = no_answer(total, louder)
    odds = math.log(found / (1 - found)) + more
    assert risen == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-4)
    # One that lacks the answer changes nothing.
    sure = np.full((3, 2), 99, np.float32)
    assert no_answer(total, [*results, sure]) == found


def test_no_answer_stays_a_probability_where_numbers_end():
    assert no_answer(-1e6, [np.zeros((1, 2), np.float32)]) == 1.0
    assert no_answer(1e6, [np.zeros((1, 2), np.float32)]) == 0.0


@pytest.mark.parametrize(("raised", "expected"), [(40.0, 1.0), (-40.0, 0.0)])
async def test_place_0_says_that_there_is_no_answer(replica, tiny, raised, expected):
    fields = {"family": "bert", "task": "question_answering"}
    model = tiny.model.__wrapped__(**fields)

    def raise_first(_module, _inputs, outputs):
        outputs.logits[:, 0] += raised

    model.module.register_forward_hook(raise_first)
    # The second context is read in several windows.
    contexts = ["def add(a, b)", tiny.text[:150]]
    questions = [
        pb.Question(question=pb.Input(text="a?"), context=pb.Input(text=text)) for text in contexts
    ]
    changed = await ask(await replica(model), "Answer", questions=questions, top_k=3)
    plain = await ask(await replica(tiny.model(**fields)), "Answer", questions=questions, top_k=3)
    for found, before in zip(changed.answers, plain.answers, strict=True):
        assert found.no_answer_probability == pytest.approx(expected, abs=1e-6)
        assert has_answer(found) == (raised < 0)
        # Whoever asks a model that never learned it has the pieces all the same.
        assert list(found.spans) == list(before.spans)
        assert 0 < before.no_answer_probability < 1


def learned(tiny):
    """A model that finds the only `b` of a context, or nothing; trained as jobs train it."""
    sizes = {"layers": 1, "context": 32}
    model = tiny.model.__wrapped__(family="bert", task="question_answering", **sizes)
    draw, length = random.Random(3), sizes["context"]
    records = [record(draw, at % 2 == 0) for at in range(48)]
    encode = AnswerEncoder(tokenizer=model.tokenizer, longest=length, overlap=8)
    collate = AnswerCollate(tokenizer=model.tokenizer, longest=length)
    batch = collate("train", list(encode(records)), np.zeros(0, np.int64))
    optimizer = torch.optim.AdamW(model.module.parameters(), 3e-3)
    task = QuestionAnswering(settings=None)
    for _ in range(80):
        optimizer.zero_grad()
        (task.losses(model.module(batch.inputs), batch).sum() / batch.counts[0]).backward()
        optimizer.step()
    return model


def record(draw, answered):
    """A question after `b`, and a context of one window or of several."""
    letters = [draw.choice("xyz") for _ in range(draw.choice((8, 40)))]
    if answered:
        letters[draw.randrange(len(letters))] = "b"
    found = {"answer": "b"} if answered else {}
    return Record(values={"question": "b?", "context": "".join(letters), **found}, place="")


@pytest.mark.waits
async def test_a_model_learns_when_there_is_no_answer(replica, tiny):
    it = await replica(learned(tiny))
    draw = random.Random(2)
    records = [record(draw, at % 2 == 0) for at in range(40)]
    questions = [
        pb.Question(
            question=pb.Input(text=each.values["question"]),
            context=pb.Input(text=each.values["context"]),
        )
        for each in records
    ]
    reply = await ask(it, "Answer", questions=questions)
    right = 0
    for each, found in zip(records, reply.answers, strict=True):
        answer = found.spans[0].text if has_answer(found) else None
        right += answer == each.values.get("answer")
    assert right >= 36
