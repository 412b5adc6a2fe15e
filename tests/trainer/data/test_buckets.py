"""Which samples make a batch, in which order, in which shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.trainer.data.buckets import BucketSampler, shape_of, shapes

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=90)


def sampler(lengths, batch=4, seed=0):
    return BucketSampler(np.array(lengths, dtype=np.int64), batch, seed)


def test_shapes_are_few_and_end_with_the_longest():
    assert shapes(100) == (8, 16, 24, 32, 48, 64, 96, 100)
    assert shapes(8) == (8,)
    assert shapes(3) == (3,)
    assert shapes(512)[-3:] == (256, 384, 512)
    assert len(shapes(8192)) < 24


@given(st.integers(1, 5000))
def test_every_length_fits_its_shape_and_no_shorter_one(longest):
    available = shapes(longest)
    assert list(available) == sorted(set(available))
    assert available[-1] == longest
    lengths = np.arange(1, longest + 1)
    at = shape_of(lengths, available)
    fits = np.array(available)[at]
    assert (fits >= lengths).all()
    assert (lengths[at > 0] > np.array(available)[at[at > 0] - 1]).all()


@settings(max_examples=50, deadline=None)
@given(LENGTHS, st.integers(1, 12), st.integers(0, 5))
def test_an_epoch_is_every_sample_once(lengths, batch, seed):
    made = sampler(lengths, batch, seed)
    for epoch in range(3):
        keys = made.keys(epoch * made.sequences, made.sequences)
        assert sorted(keys[:, 0]) == list(range(len(lengths)))


@settings(max_examples=50, deadline=None)
@given(LENGTHS, st.integers(1, 12), st.integers(0, 300), st.integers(1, 40))
def test_a_run_that_goes_on_sees_what_an_unbroken_one_sees(lengths, batch, at, count):
    whole = sampler(lengths, batch).keys(0, at + count)
    assert sampler(lengths, batch).keys(at, count).tolist() == whole[at:].tolist()
    assert whole[:, 1].tolist() == list(range(at + count))


def test_epochs_and_seeds_differ():
    lengths = [1 + i % 60 for i in range(500)]
    first = sampler(lengths, 8, 1)
    assert first.order(0).tolist() != first.order(1).tolist()
    assert first.order(0).tolist() != sampler(lengths, 8, 2).order(0).tolist()


def test_batches_hold_one_shape_and_come_in_no_order_of_length():
    random = np.random.default_rng(0)
    lengths = random.integers(1, 257, 10_007)
    made, available = sampler(lengths, 16), np.array(shapes(256))
    # The second epoch too, which begins in the middle of a batch.
    keys = made.keys(0, 16 * 1200)
    longest = lengths[keys[:, 0]].reshape(-1, 16).max(axis=1)
    padded = 16 * available[shape_of(longest, tuple(available))].sum()
    ideal = available[shape_of(lengths[keys[:, 0]], tuple(available))].sum()
    assert padded < 1.05 * ideal
    assert abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.2


def test_batches_of_a_small_set_are_made_of_others_in_every_epoch():
    made = sampler(list(range(9, 17)) * 8, 8)
    batches = [{frozenset(row) for row in made.order(e).reshape(-1, 8).tolist()} for e in (0, 1)]
    assert not batches[0] & batches[1]


@settings(max_examples=50, deadline=None)
@given(LENGTHS, st.integers(0, 100))
def test_held_out_samples_come_by_length(lengths, count):
    made = sampler(lengths)
    keys = made.held_out(count)
    assert len(keys) == min(count or len(lengths), len(lengths))
    assert len(set(keys[:, 0].tolist())) == len(keys)
    assert (keys[:, 0] == keys[:, 1]).all()
    assert (np.diff(made.lengths[keys[:, 0]]) >= 0).all()


def test_no_samples_make_no_order():
    with pytest.raises(ValueError, match="no samples"):
        sampler([])
