"""The engine against the plainest loop: same tokens, same scores, no block lost."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

from tessera import errors
from tessera.inference.engine.engine import Engine
from tessera.inference.engine.sequence import FinishReason, Request, Sampling
from tessera.inference.engine.settings import EngineSettings

from .served import slow_down

GREEDY = Sampling(temperature=0)


@pytest.fixture
def prompts(tiny):
    chance = random.Random(3)
    ids = tiny.tokenizer().encode(tiny.text)
    return [tuple(ids[(n := chance.randrange(50)) : n + chance.randint(1, 30)]) for _ in range(12)]


async def read(generation):
    parts = [part async for part in generation]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.then(part)
    assert all(part.finish is None for part in parts[:-1])
    return whole


async def ask(engine, request):
    return await read(engine.submit(request, engine.active))


def everything_returned(engine):
    assert engine.wait(5)
    status = engine.status()
    assert status.free_blocks == status.free_cross_blocks == status.total_blocks
    assert status.running == status.waiting == 0


@pytest.mark.parametrize(
    ("blocks", "max_batch"), [(0, 16), (0, 3), (20, 16)], ids=["roomy", "small batch", "preempted"]
)
async def test_greedy_equals_the_plain_loop_in_any_company(start, tiny, prompts, blocks, max_batch):
    engine = start(blocks=blocks, max_batch=max_batch)
    preempted = count_preempted(engine)
    chance = random.Random(1)

    async def one(prompt):
        await asyncio.sleep(chance.random() * 0.05)
        count = chance.randint(1, 30)
        request = Request(prompt=prompt, max_tokens=count, sampling=GREEDY, logprobs=True)
        whole = await ask(engine, request)
        assert list(whole.tokens) == tiny.naive(tiny.model(), prompt, count)
        expected = tiny.naive_logprobs(tiny.model(), prompt, whole.tokens)
        assert whole.logprobs == pytest.approx(expected, abs=1e-4)
        assert whole.text == tiny.tokenizer().decode(whole.tokens, continues=True)
        assert whole.prompt_tokens == len(prompt)

    await asyncio.gather(*(one(prompt) for prompt in prompts))
    everything_returned(engine)
    assert bool(preempted[0]) == (blocks == 20)


def count_preempted(engine):
    schedule, count = engine._scheduler.schedule, [0]

    def counting(now):
        plan = schedule(now)
        count[0] += len(plan.preempted)
        return plan

    engine._scheduler.schedule = counting
    return count


async def test_the_same_seed_gives_the_same_answer_alone_in_company_and_preempted(
    start, tiny, prompts
):
    def request(seed, prompt=prompts[0]):
        how = Sampling(temperature=1.3, top_k=40, top_p=0.95, seed=seed)
        return Request(prompt=prompt, max_tokens=25, sampling=how)

    roomy, tight = start(), start(blocks=18, max_batch=8)
    alone = await ask(roomy, request(5))
    for engine in (roomy, tight):
        mates = [ask(engine, request(n, prompt)) for n, prompt in enumerate(prompts[1:6])]
        among, *_ = await asyncio.gather(ask(engine, request(5)), *mates)
        assert among.tokens == alone.tokens
        assert among.text == alone.text
    assert (await ask(roomy, request(6))).tokens != alone.tokens


async def test_parts_join_to_the_whole_and_no_character_is_broken(start, tiny):
    engine = start()
    prompt = tuple(tiny.tokenizer().encode("class Größe:"))
    request = Request(prompt=prompt, max_tokens=50, sampling=Sampling(temperature=2, seed=11))
    parts = [part async for part in engine.submit(request, engine.active)]
    tokens = [token for part in parts for token in part.tokens]
    assert "".join(part.text for part in parts) == tiny.tokenizer().decode(tokens, continues=True)


async def test_a_stop_string_ends_the_answer_across_tokens(start, tiny, prompts):
    engine = start()
    free = await ask(engine, Request(prompt=prompts[1], max_tokens=30, sampling=GREEDY))
    stop = free.text[5:9]
    first = free.text.index(stop)
    request = Request(prompt=prompts[1], max_tokens=30, sampling=GREEDY, stop=("\0never", stop))
    stopped = await ask(engine, request)
    assert stopped.finish is FinishReason.STOP
    assert stopped.text == free.text[:first]
    assert stopped.tokens == free.tokens[: len(stopped.tokens)]
    everything_returned(engine)


async def test_the_end_token_ends_the_answer(start, tiny):
    model = tiny.model()
    engine = start()
    for seed in range(60):
        how = Sampling(temperature=5, seed=seed)
        whole = await ask(engine, Request(prompt=(1,), max_tokens=62, sampling=how))
        if model.end_id in whole.tokens:
            assert whole.finish is FinishReason.END
            assert whole.tokens.index(model.end_id) == len(whole.tokens) - 1
            assert whole.text == tiny.tokenizer().decode(whole.tokens[:-1], continues=True)
            return
    pytest.fail("no answer ended by itself")


async def test_the_context_is_the_longest_answer(start, tiny):
    engine = start()
    for length in (1, 62, 63):
        how = Sampling(temperature=0)
        whole = await ask(engine, Request(prompt=(5,) * length, max_tokens=500, sampling=how))
        if whole.finish is FinishReason.LENGTH:
            assert length + len(whole.tokens) == tiny.model().config.context


async def test_a_small_cache_bounds_the_context(start, tiny):
    engine = start(blocks=5)
    assert engine.bounds.writing(tiny.model()) == 20
    whole = await ask(engine, Request(prompt=(5,) * 3, max_tokens=500, sampling=GREEDY))
    assert 3 + len(whole.tokens) <= 20


async def test_the_first_token_does_not_wait_for_the_others(start, prompts):
    engine = start()
    generation = engine.submit(Request(prompt=prompts[0], max_tokens=40), engine.active)
    first = await anext(aiter(generation))
    assert len(first.tokens) == 1
    assert first.finish is None


async def test_a_hundred_cancellations_at_any_moment_return_every_block(start, prompts):
    engine = start(blocks=40, max_batch=6, max_waiting=200)
    chance = random.Random(5)

    async def one(number):
        await asyncio.sleep(chance.random() * 0.3)
        request = Request(prompt=chance.choice(prompts), max_tokens=34)
        task = asyncio.create_task(ask(engine, request))
        await asyncio.sleep(chance.random() * 0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(one(number) for number in range(100)))
    everything_returned(engine)
    whole = await ask(engine, Request(prompt=prompts[0], max_tokens=3, sampling=GREEDY))
    assert len(whole.tokens) == 3


async def test_cancelling_stops_the_work_within_one_step(start, tiny):
    engine = start()
    steps = count_steps(engine)
    generation = engine.submit(Request(prompt=(1, 2), max_tokens=60), engine.active)
    await anext(aiter(generation))
    generation.cancel()
    before = steps[0]
    everything_returned(engine)
    assert steps[0] <= before + 1


def count_steps(engine):
    """Counts the steps of an engine, which run as they always do."""
    run, steps = engine._model_runner.run, [0]

    def counting(plan):
        steps[0] += 1
        return run(plan)

    engine._model_runner.run = counting
    return steps


@pytest.mark.measures
async def test_a_deadline_ends_the_answer_whether_it_runs_or_waits(start, prompts):
    engine = start(max_batch=1)
    slow_down(engine, 0.02)
    soon = time.monotonic() + 0.2
    running = ask(engine, Request(prompt=prompts[0], max_tokens=34, deadline=soon))
    waiting = ask(engine, Request(prompt=prompts[1], max_tokens=30, deadline=soon))
    for result in await asyncio.gather(running, waiting, return_exceptions=True):
        assert isinstance(result, errors.DeadlineExceededError)
    everything_returned(engine)


async def test_an_overload_is_refused_and_what_was_let_in_ends(start, prompts):
    engine = start(max_batch=2, max_waiting=3)
    slow_down(engine, 0.005)
    results = await asyncio.gather(
        *(ask(engine, Request(prompt=prompts[0], max_tokens=5)) for _ in range(40)),
        return_exceptions=True,
    )
    refused = [r for r in results if isinstance(r, errors.ResourceExhaustedError)]
    assert len(refused) == 35
    assert all(error.retry_after for error in refused)
    assert sum(not isinstance(result, Exception) for result in results) == 5
    everything_returned(engine)


@pytest.mark.processes
async def test_every_answer_is_of_one_version_while_versions_change(start, tiny, prompts):
    engine = start(tiny.model(1), max_batch=6)
    ended = asyncio.Event()
    seen = set()

    async def client(number):
        chance = random.Random(number)
        while not ended.is_set():
            prompt, count = chance.choice(prompts), chance.randint(5, 30)
            whole = await ask(engine, Request(prompt=prompt, max_tokens=count, sampling=GREEDY))
            assert list(whole.tokens) == tiny.naive(tiny.model(whole.version), prompt, count)
            seen.add(whole.version)

    clients = [asyncio.create_task(client(number)) for number in range(6)]
    before = 1
    for version in (*range(2, 8), 3, 5, 2):  # On, and back again.
        await asyncio.sleep(0.15)
        engine.stage(tiny.model(version))
        assert engine.status().version == before
        engine.activate(tiny.model(version))
        before = version
    await asyncio.sleep(0.15)
    ended.set()
    await asyncio.gather(*clients)
    assert seen == set(range(1, 8))
    assert engine.wait(5, versions=1)
    assert engine.status().versions == (2,)
    everything_returned(engine)


async def test_a_version_of_another_shape_takes_over(start, tiny, prompts):
    engine = start()
    other = tiny.model(2, context=48, layers=3)
    slow_down(engine, 0.005)
    old = asyncio.create_task(
        ask(engine, Request(prompt=prompts[0], max_tokens=20, sampling=GREEDY))
    )
    await asyncio.sleep(0.03)
    engine.stage(other)
    engine.activate(other)
    new = await ask(engine, Request(prompt=prompts[1], max_tokens=15, sampling=GREEDY))
    assert list(new.tokens) == tiny.naive(other, prompts[1], 15)
    assert list((await old).tokens) == tiny.naive(tiny.model(), prompts[0], 20)


async def test_a_prompt_encoded_for_a_version_that_was_replaced_is_refused(start, tiny):
    engine = start()
    engine.stage(tiny.model(2))
    engine.activate(tiny.model(2))
    with pytest.raises(errors.AbortedError):
        engine.submit(Request(prompt=(1,)), tiny.model(1))


async def test_a_step_that_fails_ends_its_requests_and_not_the_engine(start, prompts):
    engine = start()
    run = engine._model_runner.run

    def broken(plan):
        engine._model_runner.run = run
        raise RuntimeError("out of luck")

    engine._model_runner.run = broken
    with pytest.raises(errors.InternalError):
        await ask(engine, Request(prompt=prompts[0], max_tokens=5))
    assert "out of luck" in engine.status().message
    everything_returned(engine)
    whole = await ask(engine, Request(prompt=prompts[0], max_tokens=5))
    assert whole.tokens


async def test_a_step_that_hangs_is_noticed(start, prompts):
    engine, release = start(), threading.Event()
    run = engine._model_runner.run

    def hanging(plan):
        release.wait(10)
        return run(plan)

    engine._model_runner.run = hanging
    assert not engine.stalled(0.05)
    task = asyncio.create_task(ask(engine, Request(prompt=prompts[0], max_tokens=2)))
    await asyncio.sleep(0.2)
    assert engine.stalled(0.05)
    release.set()
    await task
    assert not engine.stalled(0.05)


async def test_closing_breaks_off_what_runs(start, prompts):
    engine = start()
    slow_down(engine, 0.01)
    task = asyncio.create_task(ask(engine, Request(prompt=prompts[0], max_tokens=30)))
    await asyncio.sleep(0.05)
    engine.close()
    with pytest.raises(errors.UnavailableError):
        await task
    with pytest.raises(errors.UnavailableError):
        engine.submit(Request(prompt=(1,)), engine.active)
    status = engine.status()
    assert status.free_blocks == status.total_blocks


@pytest.mark.measures
@pytest.mark.waits
async def test_an_idle_engine_uses_no_time(start, prompts):
    engine = start()
    await ask(engine, Request(prompt=prompts[0], max_tokens=2))
    before = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize("patience", [0.0, 5.0])
async def test_tokens_may_wait_for_others_but_not_the_first_or_the_last(tiny, patience):
    settings = EngineSettings(block_size=4, coalesce_seconds=patience)
    engine = Engine(tiny.model(), settings)
    slow_down(engine, 0.005)
    engine.start()
    request = Request(prompt=(1,), max_tokens=20, sampling=GREEDY)
    parts = [part async for part in engine.submit(request, engine.active)]
    engine.close()
    tokens = [token for part in parts for token in part.tokens]
    assert tokens == tiny.naive(tiny.model(), (1,), 20)
    assert len(parts[0].tokens) == 1
    if patience:
        assert len(parts) == 2
    else:
        assert len(parts) > 10


async def test_a_slow_reader_gets_fewer_longer_parts(start, tiny):
    engine = start()
    request = Request(prompt=(1,), max_tokens=30, sampling=GREEDY)
    generation = engine.submit(request, engine.active)
    assert engine.wait(10)
    await asyncio.sleep(0)
    parts = [part async for part in generation]
    assert len(parts) == 1
    assert list(parts[0].tokens) == tiny.naive(tiny.model(), (1,), 30)
