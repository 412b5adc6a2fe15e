"""Scores against scikit-learn and numpy; entities and windows by their rules."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.trainer.tasks.classes import class_metrics, f1, measure_classes, one_hot
from tessera.trainer.tasks.scores import moments, pearson
from tessera.trainer.tasks.spans import covering, entities, is_bio, windows

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@pytest.mark.waits
@settings(max_examples=30, deadline=None)
@given(PAIRS, st.integers(1, 40))
def test_classes_are_scored_as_scikit_learn_does(pairs, cut):
    from sklearn import metrics  # noqa: PLC0415 - slow to load

    guessed, wanted = (torch.tensor(part) for part in zip(*pairs, strict=True))
    # In two batches, as an evaluation comes.
    sums = sum(
        measure_classes(one_hot(guessed[part], 4), one_hot(wanted[part], 4))
        for part in (slice(0, cut), slice(cut, None))
    )
    found = class_metrics(sums.tolist())
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(wanted, guessed))
    expected = metrics.f1_score(wanted, guessed, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)


@pytest.mark.waits
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=20))
def test_several_classes_are_scored_as_scikit_learn_does(rows):
    from sklearn import metrics  # noqa: PLC0415 - slow to load

    both = np.array(rows)
    guessed, wanted = both[:, :3], both[:, 3:]
    found = class_metrics(
        measure_classes(torch.from_numpy(guessed), torch.from_numpy(wanted)).tolist()
    )
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(wanted, guessed))
    there = np.flatnonzero((guessed | wanted).any(axis=0)).tolist()
    if there:
        expected = metrics.f1_score(wanted, guessed, labels=there, average="macro", zero_division=0)
        assert found["macro_f1"] == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=30))
def test_a_correlation_comes_from_sums(pairs):
    x, y = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
    found = pearson(moments(torch.from_numpy(x), torch.from_numpy(y)).tolist())
    if x.std() and y.std():
        assert found == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    else:
        assert found == 0


def test_nothing_found_scores_nothing():
    assert f1(0, 0, 0) == 0
    assert f1(1, 2, 1) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", set()),
        ("B-A I-A O B-B", {(0, 2, "A"), (3, 4, "B")}),
        ("B-A B-A", {(0, 1, "A"), (1, 2, "A")}),
        ("B-A I-B I-B", {(0, 1, "A"), (1, 3, "B")}),
        ("I-A I-A O I-A", {(0, 2, "A"), (3, 4, "A")}),
        ("B-A-B I-A-B", {(0, 2, "A-B")}),
        ("", set()),
    ],
)
def test_tags_mark_entities(tags, expected):
    assert entities(tags.split()) == expected


def test_only_bio_marks_entities():
    assert is_bio(["O", "B-A", "I-A"])
    assert not is_bio(["O"])
    assert not is_bio(["NOUN", "VERB"])
    assert not is_bio(["O", "B-A", "B-"])


@given(st.integers(0, 200), st.integers(1, 50), st.integers(0, 60))
def test_windows_hold_a_whole_context(length, room, overlap):
    found = windows(length, room, overlap)
    assert found[0][0] == 0
    assert found[-1][1] == length
    for (begin, end), (following, _) in itertools.pairwise(found):
        assert end - begin == room
        assert begin < following <= end - min(overlap, room - 1)
    assert all(end - begin <= room for begin, end in found)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=20).filter(any), st.data())
def test_the_tokens_of_a_span_cover_it(widths, data):
    ends = np.cumsum(widths).tolist()
    offsets = list(zip([0, *ends[:-1]], ends, strict=True))
    begin = data.draw(st.integers(0, ends[-1] - 1))
    end = data.draw(st.integers(begin + 1, ends[-1]))
    first, last = covering(offsets, begin, end)
    assert offsets[first][0] <= begin < offsets[first][1]
    assert offsets[last][0] < end <= offsets[last][1]
    assert covering([(0, 0), (3, 5)], 0, 3) is None
