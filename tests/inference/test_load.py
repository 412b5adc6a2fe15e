"""Calls that are given up, that are too many, or that come at the end."""

from __future__ import annotations

import asyncio
import random
import time

import grpc
import pytest

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb

from .served import all_returned, ask, generate, joined, slow_down, until

pytestmark = pytest.mark.processes


async def test_calls_cancelled_at_any_moment_return_every_block(replica):
    it = await replica(blocks=60, max_batch=6, max_waiting=200)
    slow_down(it.engine, 0.002)
    chance = random.Random(9)

    async def one():
        await asyncio.sleep(chance.random() * 0.2)
        call = it.inference.Generate(
            pb.GenerateRequest(model="tiny", text="def", max_tokens=60), metadata=it.metadata
        )
        try:
            for _ in range(chance.randrange(4)):
                if await asyncio.wait_for(call.read(), 5) is grpc.aio.EOF:
                    break
        except grpc.RpcError:
            pass
        call.cancel()

    await asyncio.gather(*(one() for _ in range(60)))
    await until(lambda: it.engine.status().running + it.engine.status().waiting == 0)
    all_returned(it.engine)


@pytest.mark.measures
async def test_a_call_that_is_cancelled_stops_the_work(replica):
    it = await replica()
    slow_down(it.engine, 0.05)
    call = it.inference.Generate(
        pb.GenerateRequest(model="tiny", text="def", max_tokens=60), metadata=it.metadata
    )
    await call.read()
    call.cancel()
    begin = time.monotonic()
    await until(lambda: it.engine.status().running == 0)
    assert time.monotonic() - begin < 0.5
    all_returned(it.engine)


async def test_a_deadline_ends_the_call_and_the_work(replica):
    it = await replica()
    slow_down(it.engine, 0.05)
    with pytest.raises(errors.DeadlineExceededError):
        # The likeliest tokens: one of a few drawn may be the last one.
        greedy = pb.Sampling(temperature=0)
        await generate(it, text="def", max_tokens=60, seconds=0.3, sampling=greedy)
    await until(lambda: it.engine.status().running == 0)
    all_returned(it.engine)


async def test_an_overload_is_refused_at_once(replica):
    it = await replica(max_batch=2, max_waiting=2)
    slow_down(it.engine, 0.01)
    results = await asyncio.gather(
        *(generate(it, text="def", max_tokens=20) for _ in range(20)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, errors.ResourceExhaustedError)]
    assert len(refused) == 16
    assert all(error.reason == "QUEUE_FULL" and error.retry_after for error in refused)
    assert all(joined(r)[1] for r in results if not isinstance(r, Exception))


async def test_draining_ends_what_runs_and_refuses_what_is_new(replica):
    it = await replica()
    slow_down(it.engine, 0.01)
    running = asyncio.create_task(
        generate(it, text="def", max_tokens=30, sampling=pb.Sampling(temperature=0))
    )
    await until(lambda: it.engine.status().running == 1)
    drained = asyncio.create_task(drain(it))
    await until(lambda: it.state.phase.value == "draining")
    with pytest.raises(errors.UnavailableError) as refused:
        await generate(it, text="a")
    assert refused.value.reason == "DRAINING"
    await drained
    assert running.done() or it.engine.status().running == 0
    assert joined(await running)[1]


async def drain(replica):
    await replica.steering.Drain(pb.DrainRequest(), metadata=replica.ensurer, timeout=20)


async def test_an_engine_that_hangs_is_not_healthy(replica):
    it = await replica()
    assert it.state.healthy
    slow_down(it.engine, 0.8)
    task = asyncio.create_task(generate(it, text="a", max_tokens=1))
    await until(lambda: not it.state.healthy)
    assert "step" in it.state.message
    await task
    assert it.state.healthy


async def test_a_request_of_many_texts_that_is_cancelled_or_late_leaves_nothing(replica, tiny):
    it = await replica(tiny.model(family="bert_gpt", task="joint"), max_batch=4)
    slow_down(it.engine, 0.03)
    fields = {"inputs": [pb.Input(text="def")] * 30, "max_tokens": 50, "beams": 3}
    with pytest.raises(errors.DeadlineExceededError):
        await ask(it, "Translate", seconds=0.3, **fields)
    await until(lambda: it.engine.status().running == 0)
    all_returned(it.engine)
    task = asyncio.create_task(ask(it, "Translate", **fields))
    await until(lambda: it.engine.status().running == 1)
    task.cancel()
    await until(lambda: it.engine.status().running == 0)
    all_returned(it.engine)
    await until(lambda: len(it.counts.requests) == 2)
    assert it.counts.requests[1] == ("Translate", "cancelled")


async def test_no_answer_is_of_two_versions_while_they_change(replica, tiny):
    def model(version):
        return tiny.model(version, family="bert", task="classification", labels=("x", "y", "z"))

    it = await replica(model(1), max_prefill_tokens=20)
    texts = ["def", "return a + b", "class", "x" * 20] * 3
    inputs = [pb.Input(text=text) for text in texts]
    known = {}

    async def user():
        for _ in range(12):
            reply = await ask(it, "Classify", inputs=inputs)
            found = [one.labels[0].probability for one in reply.classifications]
            assert found[:4] * 3 == pytest.approx(found, abs=1e-5)
            assert known.setdefault(reply.version, found) == pytest.approx(found, abs=1e-5)

    users = [asyncio.create_task(user()) for _ in range(4)]
    for version in (2, 3):
        await asyncio.sleep(0.1)
        it.engine.stage(model(version))
        it.engine.activate(model(version))
    await asyncio.gather(*users)
    assert 3 in known
    assert len({found[0] for found in known.values()}) == len(known)
