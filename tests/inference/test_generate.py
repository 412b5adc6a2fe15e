"""Streams of answers over real sockets."""

from __future__ import annotations

import pytest

from tessera.api.inference.v1 import inference_pb2 as pb

from .served import generate, joined


async def test_a_stream_is_the_plain_loops_answer_with_its_scores(replica, tiny):
    it = await replica()
    prompt = tuple(tiny.tokenizer().encode("def add("))
    parts = await generate(
        it, text="def add(", max_tokens=20, sampling=pb.Sampling(temperature=0), logprobs=True
    )
    text, tokens, logprobs = joined(parts)
    assert list(tokens) == tiny.naive(tiny.model(), prompt, 20)
    assert logprobs == pytest.approx(tiny.naive_logprobs(tiny.model(), prompt, tokens), abs=1e-4)
    assert text == tiny.tokenizer().decode(tokens, continues=True)
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


async def test_a_beam_search_comes_whole_and_a_stop_string_cuts_it(replica, tiny):
    it = await replica()
    prompt = tuple(tiny.tokenizer().encode("def add("))
    parts = await generate(it, text="def add(", max_tokens=20, beams=4, logprobs=True)
    (whole,) = parts
    expected = tiny.naive_logprobs(tiny.model(), prompt, tuple(whole.tokens))
    assert list(whole.logprobs) == pytest.approx(expected, abs=1e-4)
    assert whole.text == tiny.tokenizer().decode(whole.tokens, continues=True)
    greedy = tiny.naive(tiny.model(), prompt, 20)
    likely = sum(tiny.naive_logprobs(tiny.model(), prompt, tuple(greedy))) / len(greedy)
    assert sum(expected) / len(expected) >= likely - 1e-4
    stop = whole.text[4:7]
    (cut,) = await generate(it, text="def add(", max_tokens=20, beams=4, stop=[stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == pb.FINISH_REASON_STOP
    assert list(cut.tokens) == list(whole.tokens)[: len(cut.tokens)]


@pytest.mark.parametrize(
    ("family", "task"), [("transformer", "translation"), ("bert_gpt", "joint")]
)
async def test_a_model_with_an_encoder_reads_the_prompt_and_begins_anew(
    replica, tiny, family, task
):
    model = tiny.model(family=family, task=task)
    it, words = await replica(model), model.tokenizer
    parts = await generate(it, text="def", max_tokens=12, sampling=pb.Sampling(temperature=0))
    source = [*words.encode("def"), words.end_id]
    source = source if family == "transformer" else [words.start_id, *source]
    text, tokens, _ = joined(parts)
    assert list(tokens) == tiny.naive(model, (model.config.first_id,), 12, source)
    assert parts[-1].prompt_tokens == len(source)
    assert text == words.decode(tokens)
