"""What a model rules out is no fault of its numbers, unless it rules out everything."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.inference.engine.sampling import generator, sample
from tessera.inference.engine.sequence import Sampling
from tessera.inference.tasks.probabilities import softmax
from tessera.models.registry import build

from .broken import GREEDY, INF, NAN, PROMPT, broken, call, inputs
from .served import ask

pytestmark = pytest.mark.processes


def ruling_out(*tokens):
    def change(module):
        module.heads["language"].projection.bias[list(tokens)] = -INF

    return change


def with_bias(tiny):
    model = tiny.model()
    config = replace(model.config, head_bias=True)
    module = build(config).eval()
    module.load_state_dict(model.module.state_dict(), strict=False)
    torch.nn.init.zeros_(module.heads["language"].projection.bias)
    return replace(model, config=config, module=module)


async def test_what_a_model_rules_out_is_no_fault(replica, tiny):
    model = with_bias(tiny)
    vocabulary = model.config.vocab_size
    greedy = tiny.naive(model, PROMPT, 6)
    running = await replica(broken(model, ruling_out(greedy[0])))
    for fields in (
        {"sampling": pb.Sampling(temperature=0)},
        {"sampling": pb.Sampling(temperature=1, seed=1)},
        {"beams": 4},
    ):
        _, tokens, _ = await call(running, "Generate", PROMPT, fields)
        assert tokens
        assert greedy[0] not in tokens
    target = pb.Input(tokens=pb.Tokens(ids=[greedy[0]]))
    texts = [pb.ScoredText(context=inputs(PROMPT)[0], target=target)]
    reply = await ask(running, "Score", texts=texts)
    assert reply.scores[0].total == -INF
    rest = (token for token in range(vocabulary) if token != 300)
    only = await replica(broken(model, ruling_out(*rest)))
    for beams in (1, 4):
        _, tokens, _ = await call(
            only, "Generate", PROMPT, {"beams": beams, "sampling": pb.Sampling(temperature=0)}
        )
        assert tokens == (300,) * 6
    assert not running.counts.corrupted
    assert not only.counts.corrupted


async def test_a_row_in_which_everything_is_ruled_out_is_no_answer(replica, tiny):
    model = with_bias(tiny)
    everything = broken(model, ruling_out(*range(model.config.vocab_size)))
    suppressed = replace(
        broken(model, ruling_out(*range(1, model.config.vocab_size))),
        config=replace(model.config, suppress_ids=(0,)),
    )
    for wrong in (everything, suppressed):
        running = await replica(wrong)
        for fields in ({}, {"beams": 2}, {"sampling": pb.Sampling(temperature=0)}):
            with pytest.raises(errors.InternalError) as caught:
                await call(running, "Generate", PROMPT, fields)
            assert caught.value.reason == "OUTPUT_NOT_FINITE"


async def test_suppressed_tokens_are_no_fault(replica, tiny):
    model = tiny.model()
    config = replace(model.config, suppress_ids=tuple(range(100)))
    running = await replica(replace(model, config=config))
    for fields in ({"beams": 2}, {"sampling": pb.Sampling(temperature=1, seed=2)}):
        _, tokens, _ = await call(running, "Generate", PROMPT, fields)
        assert min(tokens) >= 100


@given(
    npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=1, max_dims=2, max_side=6),
        elements=st.floats(-1e4, 1e4, width=32) | st.just(-INF),
    )
)
def test_probabilities_of_what_may_be_ruled_out_are_numbers(logits):
    chances = softmax(logits)
    assert ((chances >= 0) & (chances <= 1)).all()
    possible = np.isfinite(logits).any(axis=-1)
    assert np.asarray(chances.sum(axis=-1)) == pytest.approx(possible.astype(float))


@given(
    st.lists(
        st.lists(
            st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([NAN, INF, -INF]),
            min_size=5,
            max_size=5,
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    st.sets(st.integers(0, 4), max_size=4),
    st.sampled_from([GREEDY, Sampling(seed=1), Sampling(seed=1, top_k=2, top_p=0.9)]),
)
def test_a_row_is_an_answer_just_if_some_token_is_possible_in_it(rows, dtype, suppress, how):
    logits = torch.tensor(rows).to(dtype)
    results = sample(logits, [how] * len(rows), [generator(how) for _ in rows], tuple(suppress))
    allowed = [token for token in range(5) if token not in suppress]
    for row, result in zip(logits.float(), results, strict=True):
        sound = not (row.isnan() | row.isposinf()).any() and row[allowed].isfinite().any()
        # Next to a much likelier token that is suppressed none of the others has a chance.
        likely = torch.log_softmax(row, -1)[allowed].isfinite().any()
        assert math.isfinite(result.logprob) == bool(sound and likely)
        if math.isfinite(result.logprob):
            assert result.token in allowed
