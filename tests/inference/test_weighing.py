"""Texts whose places are looked at over several steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.inference.engine import pooling_runner
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.engine.weighing import Weighing

from .served import all_returned, until

CPU = torch.device("cpu")


def hidden(model, places, *, words=4, top_k=3):
    """A text of some words, and places where something is hidden."""
    tokens = (*range(6, 6 + words), *[model.config.mask_id] * places)
    return PoolingInput(
        head="masked", tokens=tokens, places=tuple(range(words, len(tokens))), top_k=top_k
    )


def next_words(words):
    """A text whose words are asked for, but for the first."""
    return PoolingInput(
        head="language",
        tokens=tuple(range(6, 6 + words)),
        places=tuple(range(words - 1)),
        targets=tuple(range(7, 6 + words)),
    )


def in_parts(model, texts, places):
    """What is said of texts, and how many steps it takes."""
    with torch.inference_mode():
        said, steps = list(texts), 0
        while any(isinstance(text, PoolingInput | Weighing) for text in said):
            steps += 1
            left = [n for n, text in enumerate(said) if isinstance(text, PoolingInput | Weighing)]
            found = pooling_runner.read(model.module, [said[n] for n in left], CPU, places)
            for n, result in zip(left, found, strict=True):
                said[n] = result
    return said, steps


def alike(one, other):
    if one.dtype.names:
        return (one["token"] == other["token"]).all() and np.allclose(
            one["logprob"], other["logprob"], atol=1e-5
        )
    return np.allclose(one, other, atol=1e-5)


@settings(deadline=None)
@given(places=st.integers(1, 9), counts=st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_parts_change_no_answer(tiny, places, counts):
    reader, writer = tiny.model(family="bert"), tiny.model(family="gpt")
    for model, texts in (
        (reader, [hidden(reader, count, top_k=1 + count % 4) for count in counts]),
        (writer, [next_words(count + 1) for count in counts]),
    ):
        whole, _ = in_parts(model, texts, None)
        parts, steps = in_parts(model, texts, places)
        assert all(map(alike, whole, parts))
        assert steps == -(-sum(counts) // places)


async def test_an_engine_reads_in_parts_what_has_many_places(start, tiny):
    model = tiny.model(family="bert")
    works = [hidden(model, count) for count in (40, 1, 50)]
    whole, _ = in_parts(model, works, None)
    engine = start(model)
    runs = count_steps(engine)
    found = await engine.collect(works, model).results()
    assert all(map(alike, whole, found))
    assert any(len(plan.read) == 1 and plan.resumes for plan in runs)
    all_returned(engine)
    assert not engine._model_runner._weighings


async def test_what_is_given_up_in_between_leaves_nothing(start, tiny):
    model = tiny.model(family="bert")
    engine = start(model)
    runs = count_steps(engine)
    collection = engine.collect([hidden(model, 50)] * 20, model)
    await until(lambda: any(plan.resumes for plan in runs))
    collection.cancel()
    all_returned(engine)
    assert not engine._model_runner._weighings


async def test_a_step_that_fails_in_between_ends_its_request_alone(start, tiny):
    model = tiny.model(family="bert")
    engine = start(model)
    run = engine._model_runner.run

    def broken(plan):
        if plan.resumes:
            engine._model_runner.run = run
            raise RuntimeError("no memory")
        return run(plan)

    engine._model_runner.run = broken
    with pytest.raises(errors.InternalError):
        await engine.collect([hidden(model, 50)], model).results()
    whole, _ = in_parts(model, [hidden(model, 50)], None)
    (found,) = await engine.collect([hidden(model, 50)], model).results()
    assert alike(whole[0], found)
    all_returned(engine)
    assert not engine._model_runner._weighings


def count_steps(engine):
    """Plans, as they are run."""
    run, plans = engine._model_runner.run, []

    def counting(plan):
        plans.append(plan)
        return run(plan)

    engine._model_runner.run = counting
    return plans
