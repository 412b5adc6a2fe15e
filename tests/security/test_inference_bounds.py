"""Small requests that once took gigabytes, and large texts that stopped a whole replica."""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.inference.engine import weighing
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.tasks.fill_mask import MAX_CANDIDATES, FillMask
from tessera.inference.tasks.text_input import WORD, TextInput
from tessera.models.registry import FAMILIES, build
from tessera.text.training import train

from ..inference.served import Served, ask, generate  # noqa: TID252 - tests are no package

MASKS = 512
CONTEXT = MASKS + 8
WORDS = 30_000
MIB = 1 << 20
TIMES = 2.0
"""How much longer another's calls may take while somebody attacks."""
SLACK_SECONDS = 0.1
"""What a loaded machine adds to any call."""

pytestmark = pytest.mark.processes


def model(family="bert", task="", context=CONTEXT):
    torch.manual_seed(1)
    tokenizer = train(
        "byte_bpe", iter(["some words of a text\n" * 20]), 300, FAMILIES[family].special
    )
    sizes = {"layers": 1, "heads": 2, "width": 32, "context": context}
    config = FAMILIES[family].config(
        sizes,
        FAMILIES[family].task(task),
        vocab_size=WORDS,
        start_id=tokenizer.start_id,
        end_id=tokenizer.end_id,
        pad_id=tokenizer.pad_id,
        mask_id=-1 if tokenizer.mask_id is None else tokenizer.mask_id,
    )
    return LoadedModel(
        set="default/tiny",
        version=1,
        config=config,
        module=build(config).eval(),
        tokenizer=tokenizer,
    )


@pytest.fixture
async def serve():
    served = Served(None)
    yield served
    await served.close()


class Peak:
    """The most memory that this process takes while the block runs, beyond what it had."""

    def __enter__(self):
        gc.collect()
        self._begin = self._most = resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    @property
    def mib(self):
        return (self._most - self._begin) / MIB

    def _watch(self):
        while not self._over.wait(0.005):
            self._most = max(self._most, resident())


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def latencies(it, seconds):
    """Of calls of somebody else, one after another."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(found) < 5:
        begin = time.monotonic()
        await ask(it, "FillMask", inputs=[pb.Input(text="some [MASK] of a text")])
        found.append(time.monotonic() - begin)
        await asyncio.sleep(0.01)
    return found


def masks(texts):
    return [pb.Input(text="[MASK]" * MASKS)] * texts


def attacks(mask):
    tokens = pb.Input(tokens=pb.Tokens(ids=[mask] * MASKS))
    return {
        "1,000 texts of 512 masks": masks(1000),
        "1,000 texts of 512 masks as tokens": [tokens] * 1000,
        "5 MB of text": [pb.Input(text="words of a text " * (5_000_000 // 16))],
        "5 MB without a space": [pb.Input(text="x" * 5_000_000)],
    }


ATTACKER = """
import pathlib, sys, time
import grpc
from tessera.rpc.channel import bearer, channel
address, token, path, seconds = sys.argv[1:]
raw, codes = pathlib.Path(path).read_bytes(), []
with channel(address) as connection:
    call = connection.unary_unary("/tessera.api.inference.v1.InferenceService/FillMask")
    print("begins", flush=True)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        try:
            call(raw, metadata=bearer(token), timeout=60)
            codes.append("OK")
        except grpc.RpcError as error:
            codes.append(error.code().name)
print(len(codes), *sorted(set(codes)))
"""


@pytest.mark.measures
@pytest.mark.parametrize("name", attacks(0))
async def test_who_asks_for_too_much_keeps_nobody_waiting(serve, tmp_path, name):
    it = await serve(model())
    inputs = attacks(it.engine.active.mask_id)[name]
    path = tmp_path / "request"
    path.write_bytes(pb.FillMaskRequest(model="tiny", inputs=inputs, top_k=5).SerializeToString())
    token = it.other[0][1].removeprefix("Bearer ")
    await latencies(it, 0.5)
    quiet = await latencies(it, 1.5)
    attacker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ATTACKER, it.address, token, str(path), "2.5"),
        stdout=asyncio.subprocess.PIPE,
    )
    await attacker.stdout.readline()
    with Peak() as peak:
        under = await latencies(it, 2.0)
        calls, *codes = (await attacker.stdout.read()).decode().split()
    await attacker.wait()
    medians = statistics.median(quiet), statistics.median(under)
    print(  # noqa: T201 - the numbers are what the test is for
        f"\n{name}: {1000 * medians[0]:.1f} ms quiet, {1000 * medians[1]:.1f} ms under attack,"
        f" {calls} calls refused ({codes}), +{peak.mib:.0f} MiB"
    )
    assert set(codes) <= {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}
    assert medians[1] <= TIMES * medians[0] + SLACK_SECONDS
    assert peak.mib < 200


@pytest.mark.measures
async def test_what_is_allowed_keeps_nobody_waiting_either(serve):
    """A step that looked at all places of a text took 30 times as long as another's."""
    it = await serve(model())
    engine, loaded = it.engine, it.engine.active

    def works(text, count):
        return FillMask([TextInput(text=text)] * count, 5).prepare(loaded, engine.bounds)

    small, bulk = works("some [MASK] of a text", 1), works("[MASK]" * MASKS, 8)

    async def median_seconds():
        found = []
        for _ in range(40):
            begin = time.monotonic()
            await engine.collect(small, loaded, client="b").results()
            found.append(time.monotonic() - begin)
        return statistics.median(found)

    await median_seconds()
    quiet = await median_seconds()
    running = [engine.collect(bulk, loaded, client="a") for _ in range(4)]
    await asyncio.sleep(0.5)
    under = await median_seconds()
    assert engine.status().waiting
    for each in running:
        each.cancel()
    print(f"\n{1000 * quiet:.1f} ms quiet, {1000 * under:.1f} ms beside 32 texts")  # noqa: T201
    assert under <= 3 * quiet + 0.02  # Without gRPC, and without the loop's part of both.


@pytest.mark.measures
async def test_what_is_allowed_takes_a_bounded_part_of_memory(serve):
    """All logits of this request are 2.3 GiB."""
    it = await serve(model())
    texts = MAX_CANDIDATES // (5 * MASKS)
    await ask(it, "FillMask", inputs=masks(1))
    with Peak() as peak:
        reply = await ask(it, "FillMask", seconds=120, inputs=masks(texts), top_k=5)
    assert sum(len(text.masks) for text in reply.texts) == texts * MASKS
    print(f"\n{texts} texts of {MASKS} masks: +{peak.mib:.0f} MiB")  # noqa: T201
    assert peak.mib < 600
    with pytest.raises(errors.InvalidArgumentError) as caught:
        await ask(it, "FillMask", inputs=masks(texts + 1), top_k=5)
    assert caught.value.reason == "TOO_MANY_CANDIDATES"
    assert str(MAX_CANDIDATES) in caught.value.message


@pytest.mark.measures
async def test_scores_take_no_more_than_a_slice_of_the_vocabulary(serve):
    it = await serve(model("gpt"))
    texts = [pb.ScoredText(target=pb.Input(tokens=pb.Tokens(ids=[5] * MASKS)))] * 16
    await ask(it, "Score", texts=texts[:1])
    with Peak() as peak:
        reply = await ask(it, "Score", seconds=120, texts=texts)
    assert len(reply.scores) == 16
    print(f"\n16 texts of {MASKS} tokens: +{peak.mib:.0f} MiB")  # noqa: T201
    assert peak.mib < 400


@pytest.mark.parametrize("places", [1, 7])
async def test_slices_change_no_answer(serve, monkeypatch, places):
    for family, method, fields in (
        ("bert", "FillMask", {"inputs": [pb.Input(text="a [MASK] of [MASK][MASK] text")] * 3}),
        ("gpt", "Score", {"texts": [pb.ScoredText(target=pb.Input(text="some words of"))] * 3}),
    ):
        it = await serve(model(family))
        whole = await ask(it, method, **fields)
        monkeypatch.setattr(weighing, "LOGITS_BYTES", places * WORDS * 4)
        sliced = await ask(it, method, **fields)
        monkeypatch.undo()
        assert numbers(sliced) == pytest.approx(numbers(whole), abs=1e-5)


def numbers(reply):
    if isinstance(reply, pb.ScoreResponse):
        return [value for text in reply.scores for value in text.logprobs]
    places = (place for text in reply.texts for place in text.masks)
    return [each.probability for place in places for each in place.candidates]


@pytest.mark.measures
async def test_an_answer_is_looked_for_in_bands(serve):
    """60,000 tokens by 10,000 were 4.8 GB."""
    it = await serve(model(task="question_answering", context=128))
    asked = pb.Question(
        question=pb.Input(text="words"),
        context=pb.Input(tokens=pb.Tokens(ids=[5 + n % 200 for n in range(30_000)])),
    )
    with Peak() as peak:
        reply = await ask(it, "Answer", seconds=120, questions=[asked], max_answer_tokens=10_000)
    assert reply.answers[0].spans
    print(f"\na context of 30,000 tokens: +{peak.mib:.0f} MiB")  # noqa: T201
    assert peak.mib < 300


TOO_LONG = "words " * (CONTEXT * WORD // 6 + 1)


LONG = pb.Input(text=TOO_LONG)


@pytest.mark.parametrize(
    ("family", "task", "method", "fields"),
    [
        ("gpt", "", "Score", {"texts": [pb.ScoredText(target=LONG)]}),
        ("bert", "", "FillMask", {"inputs": [LONG]}),
        ("bert", "", "FillMask", {"inputs": [pb.Input(text="a", pair=TOO_LONG)]}),
        ("bert", "sentence_embedding", "Embed", {"inputs": [LONG]}),
    ],
)
async def test_characters_are_counted_before_anything_is_encoded(
    serve, family, task, method, fields
):
    it = await serve(model(family, task))
    with pytest.raises(errors.InvalidArgumentError) as caught:
        await ask(it, method, **fields)
    assert caught.value.reason == "INPUT_TOO_LONG"
    assert caught.value.metadata == {
        "characters": str(len(TOO_LONG)),
        "most": str(CONTEXT * WORD),
        "context": str(CONTEXT),
    }


async def test_characters_of_a_prompt_are_counted_too(serve):
    it = await serve(model("gpt"))
    with pytest.raises(errors.InvalidArgumentError) as caught:
        await generate(it, text=TOO_LONG)
    assert caught.value.reason == "PROMPT_TOO_LONG"
    assert caught.value.metadata["most"] == str(CONTEXT * WORD)


@pytest.mark.measures
async def test_a_refused_request_is_not_kept(serve):
    """The collector came once in a thousand of them, as they are few objects, though large."""
    it = await serve(model())
    inputs = [pb.Input(text="x" * 1_000_000)]

    async def refused():
        with pytest.raises(errors.InvalidArgumentError):
            await ask(it, "FillMask", inputs=inputs)

    gc.collect()
    gc.disable()
    try:
        for _ in range(120):  # What the allocator of each thread keeps, it has by then.
            await refused()
        with Peak() as peak:
            for _ in range(120):
                await refused()
    finally:
        gc.enable()
    print(f"\n120 MB in refused requests: +{peak.mib:.0f} MiB")  # noqa: T201
    assert peak.mib < 40


@pytest.mark.measures
def test_other_threads_go_on_while_a_text_is_encoded():
    words = model().tokenizer
    text, ticks, over = "some words of a text " * 100_000, [], threading.Event()

    def tick():
        while not over.wait(0.002):
            ticks.append(time.monotonic())

    ticker = threading.Thread(target=tick)
    ticker.start()
    begin = time.monotonic()
    words.encode(text)
    end = time.monotonic()
    over.set()
    ticker.join()
    inside = [begin, *[at for at in ticks if begin < at < end], end]
    longest = max(b - a for a, b in itertools.pairwise(inside))
    print(f"\n{end - begin:.2f} s of encoding, others stood still for {longest:.2f} s")  # noqa: T201
    assert longest < max(0.5 * (end - begin), 0.3)
