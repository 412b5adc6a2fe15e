from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.inference.engine.beam import BeamSearch, Candidate

END = 0


class Chain:
    """A model in a table: log-probabilities of the next token after every prefix."""

    def __init__(self, vocabulary, seed):
        self.vocabulary = vocabulary
        self._seed = seed

    def logprobs(self, prefix):
        raw = [math.sin(hash((self._seed, *prefix, token))) * 3 for token in range(self.vocabulary)]
        norm = math.log(sum(map(math.exp, raw)))
        return [each - norm for each in raw]

    def score(self, tokens):
        return sum(self.logprobs(tokens[:at])[token] for at, token in enumerate(tokens))

    def candidates(self, search):
        found = [
            Candidate(hypothesis.score + logprob, parent, token, logprob)
            for parent, hypothesis in enumerate(search.running)
            for token, logprob in enumerate(self.logprobs(hypothesis.tokens))
        ]
        return sorted(found, key=lambda each: -each.score)[: search.width]

    def texts(self, limit):
        """All that can be written."""
        for length in range(1, limit + 1):
            for tokens in itertools.product(range(self.vocabulary), repeat=length):
                ends = tokens[-1] == END
                if END not in tokens[:-1] and (ends or length == limit):
                    yield tokens


def run(search, chain):
    while not search.done:
        before = list(search.running)
        alive = search.advance(chain.candidates(search))
        assert [each.tokens for each in search.running][: len(alive)] == [
            (*before[each.parent].tokens, each.token) for each in alive
        ]
    return search.finished


@settings(max_examples=60, deadline=None)
@given(
    vocabulary=st.integers(2, 4),
    limit=st.integers(1, 4),
    penalty=st.sampled_from([-1.0, 0.0, 0.6, 1.0, 2.0]),
    seed=st.integers(0, 10**6),
)
def test_a_search_that_drops_nothing_ranks_all_that_can_be_written(
    vocabulary, limit, penalty, seed
):
    chain = Chain(vocabulary, seed)
    beams = vocabulary**limit
    search = BeamSearch(beams=beams, length_penalty=penalty, end_ids=frozenset({END}), limit=limit)
    found = run(search, chain)
    every = sorted(chain.texts(limit), key=lambda t: -chain.score(t) / len(t) ** penalty)
    assert [each.tokens for each in found] == every
    for each in found:
        score = chain.score(each.tokens)
        assert each.score == pytest.approx(score / len(each.tokens) ** penalty)
        assert sum(each.logprobs) == pytest.approx(score)
        assert each.ended == (each.tokens[-1] == END)


@settings(max_examples=100, deadline=None)
@given(
    vocabulary=st.integers(3, 6),
    limit=st.integers(1, 8),
    beams=st.integers(1, 4),
    penalty=st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
    seed=st.integers(0, 10**6),
)
def test_whatever_the_model_the_search_ends_with_the_best_that_it_met(
    vocabulary, limit, beams, penalty, seed
):
    chain = Chain(vocabulary, seed)
    search = BeamSearch(beams=beams, length_penalty=penalty, end_ids=frozenset({END}), limit=limit)
    met, steps = [], 0
    while not search.done:
        candidates = chain.candidates(search)
        length = len(search.running[0].tokens) + 1
        met += [
            each.score / length**penalty
            for each in candidates[:beams]
            if each.token == END or length == limit
        ]
        search.advance(candidates)
        steps += 1
        assert search.scores == sorted(search.scores, reverse=True)
        assert len(search.running) <= beams
    assert steps <= limit
    scores = [each.score for each in search.finished]
    assert scores == pytest.approx(sorted(met, reverse=True)[:beams])
    assert len({each.tokens for each in search.finished}) == len(search.finished)


def test_without_an_end_only_the_limit_ends_it():
    search = BeamSearch(beams=2, length_penalty=1.0, end_ids=frozenset(), limit=3)
    found = run(search, Chain(4, 1))
    assert [len(each.tokens) for each in found] == [3, 3]
    assert not any(each.ended for each in found)


def test_an_end_among_the_second_best_is_dropped_and_not_kept():
    search = BeamSearch(beams=1, length_penalty=1.0, end_ids=frozenset({END}), limit=9)
    alive = search.advance([Candidate(-1.0, 0, 5, -1.0), Candidate(-1.1, 0, END, -1.1)])
    assert [each.token for each in alive] == [5]
    assert not search.finished
