"""Numbers that are not finite are never an answer, and cost nobody else theirs."""

from __future__ import annotations

import asyncio

import pytest
import torch

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.engine.sequence import Request

from .broken import GREEDY, LABELS, NAN, PROMPT, broken, call, embedding, inputs, one_weight, untied
from .served import all_returned, ask, until

pytestmark = pytest.mark.processes


def position(place):
    def change(module):
        for stack in module.trunk.stacks:
            stack.embeddings.positions.weight[place] = NAN

    return change


def head(module):
    next(reversed(module.heads.values())).projection.weight[1, 2] = NAN


def ways():
    """(method, sizes of a model, further fields) of everything that a model is asked for."""
    yield "Generate", {}, {"sampling": pb.Sampling(temperature=0)}
    yield "Generate", {}, {"sampling": pb.Sampling(temperature=1, seed=3)}
    yield "Generate", {}, {"sampling": pb.Sampling(temperature=1, top_k=5, top_p=0.5, seed=3)}
    yield "Generate", {}, {"beams": 3}
    yield "Generate", {"family": "transformer"}, {"sampling": pb.Sampling(temperature=0)}
    yield "Score", {}, {}
    yield "Score", {"family": "transformer"}, {}
    yield "Translate", {"family": "transformer"}, {}
    yield "Translate", {"family": "transformer"}, {"beams": 4, "hypotheses": 2}
    yield "Translate", {"family": "bert_gpt", "task": "translation"}, {}
    yield "FillMask", {"family": "bert"}, {}
    for family in ("bert", "gpt", "bert_gpt"):
        for task in ("classification", "token_classification"):
            yield "Classify", {"family": family, "task": task, "labels": LABELS}, {}
        yield "Embed", {"family": family, "task": "sentence_embedding"}, {}
    yield "Embed", {"family": "gpt", "task": "sentence_embedding", "pooling": "mean"}, {}
    multi = {"family": "bert", "task": "classification", "labels": LABELS, "multi_label": True}
    yield "Classify", multi, {}
    yield "Answer", {"family": "bert", "task": "question_answering"}, {}


def name(way):
    method, sizes, fields = way
    return "-".join(map(str, (method, *sizes.values(), *fields))).replace(" ", "")


@pytest.mark.parametrize("way", list(ways()), ids=name)
async def test_one_broken_weight_ends_every_request_with_its_reason(replica, tiny, way):
    method, sizes, fields = way
    running = await replica(broken(tiny.model(**sizes), one_weight, version=4))
    with pytest.raises(errors.InternalError) as caught:
        await call(running, method, PROMPT, fields)
    assert caught.value.reason == "OUTPUT_NOT_FINITE"
    assert caught.value.metadata == {"version": "4"}
    assert running.counts.corrupted == [method]
    assert running.counts.requests == [(method, "output_not_finite")]
    all_returned(running.engine)


@pytest.mark.parametrize("way", list(ways()), ids=name)
async def test_one_broken_row_of_embeddings_ends_only_who_reads_it(replica, tiny, way):
    """Token 0 is also what fills up the rows of a batch."""
    method, sizes, fields = way
    model = untied(tiny, sizes)
    sound, running = await replica(model), await replica(broken(model, embedding(0)))
    prompts = [(5,), (5, 6, 7), (9, 9), tuple(range(3, 20)), tuple(range(30, 50))]
    expected = [await call(sound, method, ids, fields) for ids in prompts]
    bad = [(0,), (4, 0, 4), (*range(3, 12), 0)]

    async def breaks(ids):
        with pytest.raises(errors.InternalError) as caught:
            await call(running, method, ids, fields)
        assert caught.value.reason == "OUTPUT_NOT_FINITE"

    for _ in range(3):
        together = [call(running, method, ids, fields) for ids in prompts]
        *answers, _ = await asyncio.gather(
            *together, asyncio.gather(*(breaks(ids) for ids in bad)), return_exceptions=False
        )
        for answer, alone in zip(answers, expected, strict=True):
            same(method, answer, alone)
    all_returned(running.engine)


def same(method, answer, alone):
    """Answers in company and alone: the same tokens, and numbers up to rounding."""
    if method == "Generate":
        assert answer == alone
        return
    kind = getattr(pb, f"{method}Response")
    left, right = (kind.FromString(each) for each in (answer, alone))
    if method == "Embed":
        vectors = [
            torch.frombuffer(bytearray(v.vectors), dtype=torch.float32) for v in (left, right)
        ]
        torch.testing.assert_close(*vectors, atol=1e-4, rtol=1e-4)
        return
    assert numbers(left) == pytest.approx(numbers(right), abs=1e-4)


def vectors(reply):
    return torch.frombuffer(bytearray(reply.vectors), dtype=torch.float32).view(-1, reply.width)


def numbers(message):
    """Every number of a message, in order."""
    values = []
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            if field.message_type is not None:
                values.extend(numbers(each))
            elif isinstance(each, int | float):
                values.append(each)
    return values


@pytest.mark.parametrize(
    "sizes",
    [
        {"family": "gpt", "task": "classification", "labels": LABELS},
        {"family": "bert", "task": "classification", "labels": LABELS},
        {"family": "bert_gpt", "task": "classification", "labels": LABELS},
        {"family": "bert_gpt", "task": "sentence_embedding"},
    ],
    ids=lambda sizes: "-".join(map(str, sizes.values())),
)
async def test_a_broken_position_ends_only_texts_that_reach_it(replica, tiny, sizes):
    model = tiny.model(**sizes)
    method = "Embed" if sizes["task"] == "sentence_embedding" else "Classify"
    sound, running = await replica(model), await replica(broken(model, position(20)))
    texts = [tuple(range(3, 3 + length)) for length in (1, 12, 19, 20)]
    alone = [await call(sound, method, ids, {}) for ids in texts]
    long = asyncio.gather(
        *(call(running, method, tuple(range(n)), {}) for n in (21, 30)), return_exceptions=True
    )
    answers = await asyncio.gather(*(call(running, method, ids, {}) for ids in texts))
    for answer, expected in zip(answers, alone, strict=True):
        same(method, answer, expected)
    assert [error.reason for error in await long] == ["OUTPUT_NOT_FINITE"] * 2


async def test_a_broken_position_ends_an_answer_where_it_reaches_it(start, tiny):
    model = tiny.model()
    engine = start(broken(model, position(10)))
    parts = []
    with pytest.raises(errors.InternalError):
        request = Request(prompt=PROMPT, max_tokens=30, sampling=GREEDY)
        async for part in engine.submit(request, engine.active):
            parts.extend(part.tokens)
    # The token at place 10 is the eighth that is written; what follows it is unknown.
    assert parts == tiny.naive(model, PROMPT, 8)


@pytest.mark.parametrize("task", ["classification", "token_classification", "question_answering"])
async def test_a_broken_head_ends_its_requests(replica, tiny, task):
    labels = () if task == "question_answering" else LABELS
    model = tiny.model(family="bert", task=task, labels=labels)
    running = await replica(broken(model, head))
    with pytest.raises(errors.InternalError) as caught:
        await call(running, "Answer" if not labels else "Classify", PROMPT, {})
    assert caught.value.reason == "OUTPUT_NOT_FINITE"


async def test_what_an_encoder_breaks_ends_only_its_own_translation(replica, tiny):
    model = untied(tiny, {"family": "transformer"})

    def change(module):
        module.trunk.encoder.embeddings.tokens.weight[40] = NAN

    sound, running = await replica(model), await replica(broken(model, change))
    for fields in ({}, {"beams": 3}):
        good = {"inputs": inputs((5, 6), tuple(range(5, 30))), **fields}
        whole = await ask(sound, "Translate", **good)
        mates = [ask(running, "Translate", **good) for _ in range(3)]
        bad = ask(running, "Translate", inputs=inputs((5, 6), (7, 40, 7)), **fields)
        *answers, error = await asyncio.gather(*mates, bad, return_exceptions=True)
        assert error.reason == "OUTPUT_NOT_FINITE"
        for answer in answers:
            same("Translate", answer.SerializeToString(), whole.SerializeToString())
    all_returned(running.engine)


async def test_an_overflow_of_half_precision_is_noticed(replica, tiny):
    def overflows(module):
        module.heads["language"].projection.weight *= 3e4
        module.half()

    model = tiny.model(tie_embeddings=False)
    sound = await replica(broken(model, lambda module: module.half()))
    assert (await call(sound, "Generate", PROMPT, {}))[1]
    running = await replica(broken(model, overflows))
    for method in ("Generate", "Score"):
        with pytest.raises(errors.InternalError) as caught:
            await call(running, method, PROMPT, {})
        assert caught.value.reason == "OUTPUT_NOT_FINITE"


async def test_a_vector_whose_length_overflows_is_none_of_zeros(replica, tiny):
    def large(module):
        module.trunk.encoder.blocks[-1].mlp_norm.weight.fill_(1.5e4)
        module.half()

    model = tiny.model(family="bert", task="sentence_embedding", pooling="first")
    running = await replica(broken(model, large))
    reply = await ask(running, "Embed", inputs=inputs(PROMPT, tuple(range(5, 60))))
    assert vectors(reply).norm(dim=-1).tolist() == pytest.approx([1, 1], abs=1e-2)


async def test_an_answer_ends_where_it_meets_what_is_broken(start, tiny):
    model = untied(tiny, {})
    prompt, written, first = next(
        ((token,), written, place)
        for token in range(1, 300)
        for written in [tiny.naive(model, (token,), 8)]
        for place in range(2, len(written))
        if written[place] not in {token, *written[:place]}
    )
    engine = start(broken(model, embedding(written[first])))
    parts = []
    with pytest.raises(errors.InternalError):
        request = Request(prompt=prompt, max_tokens=20, sampling=GREEDY)
        async for part in engine.submit(request, engine.active):
            parts.extend(part.tokens)
    assert parts == written[: first + 1]


async def test_memory_that_a_broken_request_leaves_spoils_nothing(start, tiny):
    """A cache so small that every request gets blocks of broken ones, also half used."""
    model = untied(tiny, {})
    engine = start(broken(model, embedding(0)), blocks=8, block_size=16)

    async def write(*prompts, beams=1):
        works = [Request(prompt=p, max_tokens=6, sampling=GREEDY, beams=beams) for p in prompts]
        return [found[0] for found in await engine.collect(works, engine.active).results()]

    for length in range(1, 40, 3):
        short, long = tuple(range(2, 2 + length)), tuple(range(2, 47))
        for bad in ((*short, 0), (0, *long), (0,) * 63):
            with pytest.raises(errors.InternalError):
                await write(bad, bad)
        for found, prompt in zip(await write(short, long), (short, long), strict=True):
            assert list(found.tokens) == tiny.naive(model, prompt, 6)
        await write(short, long[:20], beams=2)
    all_returned(engine)


async def test_a_request_of_several_texts_ends_whole_and_alone(start, tiny):
    model = tiny.model(family="bert", task="classification", labels=LABELS)
    engine = start(broken(model, embedding(3)))

    def reading(*ids):
        return PoolingInput(head="classes", tokens=ids)

    mixed = engine.collect([reading(5, 6), reading(3), reading(8)], engine.active)
    mate = engine.collect([reading(5, 6), reading(8)], engine.active)
    with pytest.raises(errors.InternalError):
        await mixed.results()
    assert len(await mate.results()) == 2
    status = engine.status()
    assert (status.corrupted, status.hopeless) == (1, False)
    all_returned(engine)


async def test_the_replica_says_so_until_another_version_serves(replica, tiny):
    running = await replica(broken(tiny.model(), one_weight))
    assert running.state.healthy
    for count in (1, 2):
        with pytest.raises(errors.InternalError):
            await call(running, "Generate", PROMPT, {})
        status = await running.steering.GetReplicaStatus(
            pb.GetReplicaStatusRequest(), metadata=running.metadata, timeout=5
        )
        assert status.corrupted_requests == count
        assert "version 1 computed numbers that are not finite" in status.message
        assert status.state == pb.REPLICA_STATE_ACTIVE
    assert not running.state.healthy
    better = tiny.model(2)
    running.engine.stage(better)
    running.engine.activate(better)
    assert await call(running, "Generate", PROMPT, {})
    await until(lambda: running.state.healthy)
    assert running.state.message == ""
    assert running.engine.status().corrupted == 0


async def test_one_that_answers_too_is_healthy_and_says_so(replica, tiny):
    running = await replica(broken(untied(tiny, {}), embedding(0)))
    assert await call(running, "Generate", PROMPT, {})
    with pytest.raises(errors.InternalError):
        await call(running, "Generate", (0,), {})
    assert running.state.healthy
    assert running.state.message.endswith("not finite for one request")
