"""The order of samples: a few integers decide it."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.trainer.data.sampler import Sampler, windows


@settings(max_examples=200, deadline=None)
@given(
    tokens=st.integers(20, 400),
    length=st.integers(2, 19),
    seed=st.integers(0, 9),
    at=st.integers(0, 200),
    count=st.integers(1, 60),
)
def test_samples_depend_on_their_number_only(tokens, length, seed, at, count):
    sampler = Sampler(tokens=tokens, length=length, seed=seed)
    whole = sampler.keys(0, at + count)
    assert sampler.keys(at, count).tolist() == whole[at:].tolist()
    assert whole[:, 1].tolist() == list(range(at + count))
    assert all(0 <= start <= tokens - length - 1 for start in whole[:, 0])


@settings(max_examples=100, deadline=None)
@given(tokens=st.integers(20, 300), length=st.integers(2, 19), seed=st.integers(0, 9))
def test_an_epoch_is_every_sequence_once(tokens, length, seed):
    sampler = Sampler(tokens=tokens, length=length, seed=seed)
    for epoch in (0, 1):
        starts = sorted(sampler.order(epoch).tolist())
        assert len(starts) == sampler.sequences
        assert all(b - a == length for a, b in itertools.pairwise(starts))


def test_epochs_and_seeds_differ():
    sampler = Sampler(tokens=5000, length=8, seed=1)
    assert sampler.order(0).tolist() != sampler.order(1).tolist()
    assert sampler.order(0).tolist() != Sampler(tokens=5000, length=8, seed=2).order(0).tolist()


@given(st.integers(10, 500), st.integers(2, 9), st.integers(0, 40))
def test_held_out_windows_fit_and_do_not_overlap(tokens, length, count):
    keys = windows(tokens, length, count)
    starts = keys[:, 0].tolist()
    assert keys[:, 1].tolist() == list(range(len(keys)))
    assert len(starts) == min(count or tokens, (tokens - 1) // length)
    assert all(start + length + 1 <= tokens for start in starts)
    assert all(b - a >= length for a, b in itertools.pairwise(starts))
