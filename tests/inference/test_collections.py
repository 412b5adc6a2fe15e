"""Requests of several items, and models with an encoder, in the engine."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera import errors
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.engine.sequence import Request, Sampling
from tessera.models.inputs import Inputs

from .served import all_returned, slow_down

COUNT = 20


@pytest.fixture
def joint(tiny):
    return tiny.model(family="bert_gpt", task="joint")


def source(chance):
    return tuple(chance.randrange(6, 200) for _ in range(chance.randint(1, 30)))


def request(model, tokens, count=COUNT, **fields):
    return Request(
        prompt=(model.config.first_id,),
        source=tokens,
        max_tokens=count,
        sampling=Sampling(temperature=0),
        **fields,
    )


def hidden(model, tokens):
    return PoolingInput(
        head="masked", tokens=(*tokens, model.config.mask_id), places=(len(tokens),), top_k=9
    )


@torch.inference_mode()
def masked(model, tokens):
    whole = torch.tensor([[*tokens, model.config.mask_id]])
    best = model.module(Inputs(whole)).masked[0, -1].log_softmax(-1).topk(9)
    return best.indices.tolist(), best.values.numpy()


def count_encoded(model, monkeypatch):
    """Rows that the encoder has read."""
    encoder, rows = model.module.trunk.encoder, []
    forward = encoder.forward

    def counting(tokens, *rest):
        rows.append(len(tokens))
        return forward(tokens, *rest)

    monkeypatch.setattr(encoder, "forward", counting)
    return rows


async def test_sources_are_read_once_also_by_those_that_are_preempted(
    start, tiny, joint, monkeypatch
):
    engine = start(joint, blocks=14, max_batch=8)
    preempted = []
    schedule = engine._scheduler.schedule
    monkeypatch.setattr(
        engine._scheduler,
        "schedule",
        lambda now: (plan := schedule(now), preempted.extend(plan.preempted))[0],
    )
    chance = random.Random(4)
    sources = [source(chance) for _ in range(12)]
    expected = [tiny.naive(joint, (joint.config.first_id,), COUNT, each) for each in sources]
    encoded = count_encoded(joint, monkeypatch)
    found = await engine.collect([request(joint, each) for each in sources], joint).results()
    assert [list(each[0].tokens) for each in found] == expected
    assert preempted
    assert sum(encoded) == len(sources)
    assert len(encoded) < len(sources), "several at once"
    all_returned(engine)


@pytest.mark.waits
async def test_every_kind_at_once_and_each_request_of_one_version_while_versions_change(
    start, tiny
):
    def model(version):
        return tiny.model(version, family="bert_gpt", task="joint")

    engine = start(model(1), max_batch=6)
    ended, seen = asyncio.Event(), set()

    async def client(number):
        chance = random.Random(number)
        while not ended.is_set():
            loaded = engine.active
            texts = [source(chance) for _ in range(3)]
            works = [
                request(loaded, texts[0], 6),
                hidden(loaded, texts[1]),
                hidden(loaded, texts[2]),
            ]
            collection = engine.collect(works, loaded)
            first, *rest = await collection.results()
            assert collection.version == loaded.version
            expected = tiny.naive(loaded, (loaded.config.first_id,), 6, texts[0])
            assert list(first[0].tokens) == expected
            for choices, tokens in zip(rest, texts[1:], strict=True):
                best, logprobs = masked(loaded, tokens)
                assert choices[0]["token"].tolist() == best
                assert np.abs(choices[0]["logprob"] - logprobs).max() < 1e-4
            seen.add(loaded.version)

    clients = [asyncio.create_task(client(number)) for number in range(5)]
    for version in (2, 3, 4):
        await asyncio.sleep(0.2)
        engine.stage(model(version))
        engine.activate(model(version))
    await asyncio.sleep(0.2)
    ended.set()
    await asyncio.gather(*clients)
    assert seen == {1, 2, 3, 4}
    assert engine.wait(5, versions=1)
    all_returned(engine)


async def test_giving_up_at_any_moment_returns_every_block_and_all_memory(start, joint):
    engine = start(joint, blocks=60, max_batch=6, max_waiting=200)
    chance = random.Random(5)

    async def one():
        await asyncio.sleep(chance.random() * 0.3)
        works = [
            request(joint, source(chance), beams=chance.choice([1, 2, 3])),
            hidden(joint, source(chance)),
            request(joint, source(chance)),
        ]
        task = asyncio.create_task(engine.collect(works, joint).results())
        await asyncio.sleep(chance.random() * 0.15)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(one() for _ in range(60)))
    all_returned(engine)


@pytest.mark.measures
async def test_a_deadline_ends_a_request_whole(start, joint):
    engine = start(joint, max_batch=1)
    slow_down(engine, 0.02)
    soon = time.monotonic() + 0.15
    works = [request(joint, (7, 8), 60, deadline=soon) for _ in range(4)]
    with pytest.raises(errors.DeadlineExceededError):
        await engine.collect(works, joint, soon).results()
    all_returned(engine)


async def test_a_step_that_fails_ends_the_whole_request_and_no_other(start, joint):
    engine = start(joint, max_prefill_tokens=10)
    run = engine._model_runner.run

    def broken(plan):
        engine._model_runner.run = run
        raise RuntimeError("out of luck")

    engine._model_runner.run = broken
    works = [hidden(joint, (7,) * 8) for _ in range(6)]
    failing = engine.collect(works, joint)
    other = engine.collect(works[:2], joint)
    with pytest.raises(errors.InternalError):
        await failing.results()
    assert len(await other.results()) == 2
    all_returned(engine)


async def test_tokens_that_are_suppressed_are_never_written(start, tiny):
    model = tiny.model(family="transformer")
    engine = start(model)
    works = [request(model, (7, 8, 9), beams=beams) for beams in (1, 3)]
    found = await engine.collect(works, model).results()
    often = found[0][0].tokens[1]
    quiet = replace(model, version=2, config=replace(model.config, suppress_ids=(often, 11)))
    engine.stage(quiet)
    engine.activate(quiet)
    for hypotheses in await engine.collect(works, quiet).results():
        for each in hypotheses:
            assert {often, 11}.isdisjoint(each.tokens)
    sampled = [
        Request(prompt=(0,), source=(7, 8), max_tokens=20, sampling=Sampling(seed=n, temperature=9))
        for n in range(5)
    ]
    for (each,) in await engine.collect(sampled, quiet).results():
        assert {often, 11}.isdisjoint(each.tokens)
