"""A replica's services over real sockets."""

from __future__ import annotations

import asyncio
import random
import time
from types import SimpleNamespace

import grpc
import pytest
import xxhash

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.device import Device
from tessera.inference.activation import Activation
from tessera.inference.config import ServedModel
from tessera.inference.engine.engine import Engine
from tessera.inference.engine.scheduler import Limits
from tessera.inference.engine.settings import EngineSettings
from tessera.inference.meter import NoMeter
from tessera.inference.replica import services
from tessera.inference.state import ReplicaState
from tessera.inference.weights import Loader
from tessera.rpc.channel import aio_channel, bearer, mapped_errors
from tessera.rpc.identity import Issuer, Principal, Verifier
from tessera.rpc.server import Server
from tessera.weights.coordinator import Coordinator

SERVED = ServedModel(deployment="tiny", tenant="default", set="default/tiny", version=1)


@pytest.fixture
async def replica(tiny):
    """A replica that has its weights already; `start(**limits)` gives what a client needs."""
    issuer = Issuer(Issuer.generate_key())
    running = []

    async def start(*, empty=False, blocks=0, **limits):
        coordinator = Coordinator("127.0.0.1:1", "", patience=0.1)
        loader = Loader(
            coordinator, "", set_name=SERVED.set, owner="test", device=Device.for_accelerator("")
        )
        activation = Activation(SERVED, loader, coordinator, lambda: None)
        if not empty:
            settings = EngineSettings(limits=Limits(**limits), block_size=4, blocks=blocks)
            activation.engine = Engine(tiny.model(), settings)
            activation.engine.start()
            activation._troubles["load"] = ""
        state = ReplicaState(SERVED, activation, stall_seconds=0.2)
        server = Server(Verifier([issuer.public_key()]), services(state, NoMeter()))
        channel = aio_channel(f"127.0.0.1:{await server.start()}")
        running.append((channel, server, activation))
        return SimpleNamespace(
            state=state,
            engine=activation.engine,
            inference=pb_grpc.InferenceServiceStub(channel),
            steering=pb_grpc.ReplicaServiceStub(channel),
            metadata=bearer(issuer.issue(Principal(subject="ada"))),
        )

    yield start
    for channel, server, activation in running:
        await channel.close()
        await server.drain(0)
        activation.close()


async def generate(replica, *, seconds=30, **fields):
    fields.setdefault("model", "tiny")
    with mapped_errors():
        call = replica.inference.Generate(
            pb.GenerateRequest(**fields), metadata=replica.metadata, timeout=seconds
        )
        return [part async for part in call]


def joined(parts):
    tokens = tuple(token for part in parts for token in part.tokens)
    logprobs = [value for part in parts for value in part.logprobs]
    return "".join(part.text for part in parts), tokens, logprobs


async def test_a_stream_is_the_plain_loops_answer_with_its_scores(replica, tiny):
    it = await replica()
    prompt = tuple(tiny.tokenizer().encode("def add("))
    parts = await generate(
        it, text="def add(", max_tokens=20, sampling=pb.Sampling(temperature=0), logprobs=True
    )
    text, tokens, logprobs = joined(parts)
    assert list(tokens) == tiny.naive(tiny.model(), prompt, 20)
    assert logprobs == pytest.approx(tiny.naive_logprobs(tiny.model(), prompt, tokens), abs=1e-4)
    assert text == tiny.tokenizer().decode(tokens)
    assert {part.version for part in parts} == {1}
    assert parts[-1].prompt_tokens == len(prompt)
    assert parts[-1].finish_reason == pb.FINISH_REASON_LENGTH
    assert all(not part.finish_reason and not part.prompt_tokens for part in parts[:-1])


async def test_tokens_are_as_good_as_text_and_the_full_name_as_the_short(replica, tiny):
    it = await replica()
    ids = tiny.tokenizer().encode("class")
    greedy = pb.Sampling(temperature=0)
    one = await generate(it, text="class", max_tokens=9, sampling=greedy)
    two = await generate(
        it,
        model="deployments/default/tiny",
        tokens=pb.Tokens(ids=ids),
        max_tokens=9,
        sampling=greedy,
    )
    assert joined(one) == joined(two)
    assert not joined(one)[2]


async def test_a_seed_repeats_and_no_seed_does_not(replica):
    it = await replica()
    seeded = [
        joined(await generate(it, text="a", max_tokens=30, sampling=pb.Sampling(seed=7)))
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1]
    free = {joined(await generate(it, text="a", max_tokens=30))[0] for _ in range(3)}
    assert len(free) > 1


async def test_a_stop_string(replica):
    it = await replica()
    greedy = pb.Sampling(temperature=0)
    text, _, _ = joined(await generate(it, text="x", max_tokens=40, sampling=greedy))
    stop = text[4:7]
    parts = await generate(it, text="x", max_tokens=40, sampling=greedy, stop=[stop])
    assert joined(parts)[0] == text[: text.index(stop)]
    assert parts[-1].finish_reason == pb.FINISH_REASON_STOP


async def test_the_answer_ends_at_the_context(replica, tiny):
    it = await replica()
    context = tiny.model().config.context
    for seed in range(20):
        parts = await generate(
            it, tokens=pb.Tokens(ids=[3] * 40), max_tokens=1000, sampling=pb.Sampling(seed=seed)
        )
        if parts[-1].finish_reason == pb.FINISH_REASON_LENGTH:
            assert len(joined(parts)[1]) == context - 40
            return
    pytest.fail("every answer ended before the context")


BAD = [
    (
        "another model",
        {"model": "other", "text": "a"},
        errors.NotFoundError,
        "MODEL_NOT_FOUND",
        "model",
    ),
    ("no input", {}, errors.InvalidArgumentError, "INVALID_FIELD", "input"),
    ("empty text", {"text": ""}, errors.InvalidArgumentError, "EMPTY_PROMPT", "text"),
    ("no tokens", {"tokens": pb.Tokens()}, errors.InvalidArgumentError, "EMPTY_PROMPT", "tokens"),
    ("long text", {"text": "\0" * 70}, errors.InvalidArgumentError, "PROMPT_TOO_LONG", "text"),
    (
        "very long text",
        {"text": "\0\1" * 5000},
        errors.InvalidArgumentError,
        "PROMPT_TOO_LONG",
        "text",
    ),
    (
        "long tokens",
        {"tokens": pb.Tokens(ids=[1] * 64)},
        errors.InvalidArgumentError,
        "PROMPT_TOO_LONG",
        "tokens",
    ),
    (
        "negative token",
        {"tokens": pb.Tokens(ids=[1, -1])},
        errors.InvalidArgumentError,
        "TOKEN_OUT_OF_RANGE",
        "tokens.ids[1]",
    ),
    (
        "token past the vocabulary",
        {"tokens": pb.Tokens(ids=[5000])},
        errors.InvalidArgumentError,
        "TOKEN_OUT_OF_RANGE",
        "tokens.ids[0]",
    ),
    (
        "max_tokens 0",
        {"text": "a", "max_tokens": 0},
        errors.InvalidArgumentError,
        "INVALID_FIELD",
        "max_tokens",
    ),
    (
        "top_p 0",
        {"text": "a", "sampling": pb.Sampling(top_p=0)},
        errors.InvalidArgumentError,
        "INVALID_FIELD",
        "sampling.top_p",
    ),
    (
        "empty stop",
        {"text": "a", "stop": ["ok", ""]},
        errors.InvalidArgumentError,
        "INVALID_FIELD",
        "stop[1]",
    ),
]


@pytest.mark.parametrize(
    ("fields", "kind", "reason", "field"),
    [case[1:] for case in BAD],
    ids=[case[0] for case in BAD],
)
async def test_bad_input_is_refused_and_named(replica, fields, kind, reason, field):
    it = await replica()
    with pytest.raises(kind) as refused:
        await generate(it, **fields)
    assert refused.value.reason == reason
    assert refused.value.violations[0].field == field
    if reason == "PROMPT_TOO_LONG":
        facts = refused.value.metadata
        assert facts["context"] == "64"
        assert facts["prompt_tokens"] in refused.value.message
        assert "64" in refused.value.message


async def test_without_weights_it_says_so_and_when_to_come_back(replica):
    it = await replica(empty=True)
    with pytest.raises(errors.UnavailableError) as refused:
        await generate(it, text="a")
    assert refused.value.reason == "NOT_READY"
    assert refused.value.retry_after
    status = await it.steering.GetReplicaStatus(
        pb.GetReplicaStatusRequest(), metadata=it.metadata, timeout=5
    )
    assert status.state == pb.REPLICA_STATE_EMPTY
    assert "default/tiny" in status.message
    assert not it.state.healthy


async def test_the_model_is_described(replica, tiny):
    it = await replica()
    reply = await it.inference.GetModel(
        pb.GetModelRequest(model="tiny"), metadata=it.metadata, timeout=5
    )
    config = tiny.model().config
    assert (reply.model, reply.family, reply.set) == ("tiny", "gpt", "default/tiny")
    assert (reply.version, reply.context) == (1, config.context)
    assert reply.parameters == sum(p.numel() for p in tiny.model().module.parameters())


async def test_digests_are_of_the_live_weights(replica, tiny):
    it = await replica()
    module = tiny.model().module
    every = await it.steering.GetDigests(pb.GetDigestsRequest(), metadata=it.metadata, timeout=5)
    expected = {
        name: xxhash.xxh3_64_intdigest(p.detach().numpy().tobytes())
        for name, p in module.named_parameters()
    }
    assert {d.box.tensor: d.checksum for d in every.digests} == expected
    assert every.version == 1
    query = pb.DigestQuery(tensor="tokens.weight", offsets=[3, 8], extents=[5, 16])
    box = await it.steering.GetDigests(
        pb.GetDigestsRequest(boxes=[query]), metadata=it.metadata, timeout=5
    )
    part = module.tokens.weight.detach().numpy()[3:8, 8:24]
    assert box.digests[0].checksum == xxhash.xxh3_64_intdigest(part.tobytes())


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (pb.DigestQuery(tensor="nothing"), "TENSOR_NOT_FOUND"),
        (pb.DigestQuery(tensor="norm.weight", offsets=[30], extents=[3]), "INVALID_BOX"),
        (pb.DigestQuery(tensor="norm.weight", offsets=[-1], extents=[3]), "INVALID_BOX"),
        (pb.DigestQuery(tensor="norm.weight", offsets=[0, 0], extents=[3, 1]), "INVALID_BOX"),
    ],
)
async def test_digests_of_what_is_not_there(replica, query, reason):
    it = await replica()
    with pytest.raises(errors.InvalidArgumentError) as refused, mapped_errors():
        await it.steering.GetDigests(
            pb.GetDigestsRequest(boxes=[query]), metadata=it.metadata, timeout=5
        )
    assert refused.value.reason == reason


def all_returned(engine):
    assert engine.wait(5)
    status = engine.status()
    assert status.free_blocks == status.total_blocks


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


def slow_down(engine, seconds):
    run = engine._runner.run

    def slow(plan):
        time.sleep(seconds)
        return run(plan)

    engine._runner.run = slow


async def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.01)


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
        await generate(it, text="def", max_tokens=60, seconds=0.3)
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
    await replica.steering.Drain(pb.DrainRequest(), metadata=replica.metadata, timeout=20)


async def test_an_engine_that_hangs_is_not_healthy(replica):
    it = await replica()
    assert it.state.healthy
    slow_down(it.engine, 0.8)
    task = asyncio.create_task(generate(it, text="a", max_tokens=1))
    await until(lambda: not it.state.healthy)
    assert "step" in it.state.message
    await task
    assert it.state.healthy
