from __future__ import annotations

import pytest
import torch

from tessera.inference.engine.sampling import generator, sample
from tessera.inference.engine.sequence import Sampling

VOCABULARY = 50


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(6, VOCABULARY) * 3


def run(logits, samplings, count=1):
    generators = [generator(each) for each in samplings]
    return [[s.token for s in sample(logits, samplings, generators)] for _ in range(count)]


def test_greedy_takes_the_most_likely_and_no_chance(logits):
    greedy = [Sampling(temperature=0, seed=seed) for seed in range(6)]
    assert run(logits, greedy) == [logits.argmax(-1).tolist()]


def test_logprobs_are_those_of_the_raw_logits(logits):
    samplings = [Sampling(temperature=t, top_k=3, seed=1) for t in (0, 0.5, 1, 2, 5, 9)]
    found = sample(logits, samplings, [generator(each) for each in samplings])
    expected = torch.log_softmax(logits, -1)
    for row, one in enumerate(found):
        assert one.logprob == pytest.approx(float(expected[row, one.token]), abs=1e-6)


def test_a_row_does_not_depend_on_its_mates(logits):
    samplings = [
        Sampling(seed=1),
        Sampling(seed=2, top_k=5),
        Sampling(seed=3, top_p=0.7),
        Sampling(temperature=0),
        Sampling(seed=4, top_k=20, top_p=0.9, temperature=0.5),
        Sampling(seed=5, temperature=3),
    ]
    together = run(logits, samplings, 20)
    for row, each in enumerate(samplings):
        alone = run(logits[row : row + 1], [each], 20)
        assert [tokens[row] for tokens in together] == [tokens[0] for tokens in alone]


def frequencies(logits, sampling, draws=20_000):
    rows = logits.expand(draws, -1)
    samplings = [sampling] * draws
    source = generator(sampling)
    tokens = [s.token for s in sample(rows, samplings, [source] * draws)]
    return torch.bincount(torch.tensor(tokens), minlength=logits.shape[-1]) / draws


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_they_are_likely(logits, temperature):
    row = logits[0]
    found = frequencies(row, Sampling(temperature=temperature, seed=7))
    expected = torch.softmax(row / temperature, -1)
    assert (found - expected).abs().max() < 0.015


def test_top_k_leaves_k(logits):
    row = logits[0]
    found = frequencies(row, Sampling(top_k=3, seed=7))
    kept = row.topk(3)
    assert set(found.nonzero().flatten().tolist()) == set(kept.indices.tolist())
    expected = torch.softmax(kept.values, -1)
    assert (found[kept.indices] - expected).abs().max() < 0.015


def test_top_p_leaves_the_fewest_that_reach_it():
    row = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    found = frequencies(row, Sampling(top_p=0.7, seed=7), 4000)
    assert found[2:].sum() == 0
    assert found[0] == pytest.approx(0.5 / 0.8, abs=0.03)
    assert set(
        frequencies(row, Sampling(top_p=0.96, seed=1), 4000).nonzero().flatten().tolist()
    ) == {
        0,
        1,
        2,
        3,
    }


def test_a_tiny_top_p_and_a_huge_top_k_are_no_trouble(logits):
    samplings = [Sampling(top_p=1e-9, seed=n) for n in range(6)]
    assert run(logits, samplings) == [logits.argmax(-1).tolist()]
    huge = [Sampling(top_k=10**6, seed=n) for n in range(6)]
    assert all(0 <= token < VOCABULARY for tokens in run(logits, huge, 50) for token in tokens)


def test_the_smallest_temperature_is_as_good_as_greedy(logits):
    samplings = [Sampling(temperature=5e-324, seed=n) for n in range(6)]
    assert run(logits, samplings) == [logits.argmax(-1).tolist()]


def test_extreme_logits_are_no_trouble():
    rows = torch.tensor([[0.0, -1e30, 1e30], [float("-inf"), 0.0, float("-inf")]])
    assert run(rows, [Sampling(seed=1), Sampling(seed=2, top_p=0.5)], 5) == [[2, 1]] * 5
