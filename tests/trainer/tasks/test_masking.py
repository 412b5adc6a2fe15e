"""Hidden tokens: how many, which, and that a draw decides everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.text.special import BERT, GPT
from tessera.text.training import train
from tessera.trainer.failure import UserError
from tessera.trainer.tasks.masking import Masker, hide

SIZE, MASK = 50, 4


def masker(probability=0.15, seed=0):
    special = np.arange(SIZE) < 5
    return Masker(probability=probability, mask_id=MASK, special=special, seed=seed)


@settings(max_examples=80, deadline=None)
@given(
    row=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=60),
    probability=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63 - 1),
    draw=st.integers(0, 2**40),
)
def test_a_draw_decides_which_tokens_are_hidden(row, probability, seed, draw):
    row = np.array(row)
    tool = masker(probability, seed)
    seen, places = tool.mask("train", row, draw)
    again = masker(probability, seed).mask("train", row, draw)
    assert seen.tolist() == again[0].tolist()
    assert places.tolist() == again[1].tolist()
    ordinary = int(np.sum(row >= 5))
    assert len(places) == max(1, round(probability * (ordinary or len(row))))
    assert len(set(places.tolist())) == len(places)
    untouched = np.setdiff1d(np.arange(len(row)), places)
    assert (seen[untouched] == row[untouched]).all()
    if ordinary:
        assert (row[places] >= 5).all()
    changed = seen[places][seen[places] != row[places]]
    assert ((changed == MASK) | (changed >= 5)).all()
    # As many whatever the draw, so that what a step divides by is known beforehand.
    assert len(tool.mask("train", row, draw + 1)[1]) == len(places)


def test_eight_of_ten_are_masks_one_is_another_token_and_one_stays():
    row = np.full(200, 7)
    kinds = np.zeros(3)
    hits = np.zeros(200)
    for draw in range(400):
        seen, places = masker().mask("train", row, draw)
        found = seen[places]
        kinds += [np.sum(found == MASK), np.sum((found != MASK) & (found != 7)), np.sum(found == 7)]
        hits[places] += 1
    shares = kinds / kinds.sum()
    # 12,000 targets: three standard deviations are 0.011 and 0.008; another token may be the same.
    assert shares[0] == pytest.approx(0.8, abs=0.011)
    assert shares[1] == pytest.approx(0.1 * 44 / 45, abs=0.009)
    assert shares[2] == pytest.approx(0.1 + 0.1 / 45, abs=0.009)
    # Every place is as likely: 60 hits each, with a standard deviation of 7.
    assert hits.min() > 25
    assert hits.max() < 95


def test_epochs_differ_and_held_out_masks_do_not():
    row = np.arange(5, 45)
    one, two = masker(seed=1), masker(seed=2)
    places = [tuple(one.mask("train", row, draw)[1]) for draw in range(20)]
    assert len(set(places)) > 15
    assert tuple(two.mask("train", row, 0)[1]) != places[0]
    for draw in range(5):
        held = [tool.mask("held_out", row, draw) for tool in (one, two)]
        assert held[0][0].tolist() == held[1][0].tolist()


def test_places_are_those_of_the_batch():
    rows = [np.arange(5, 25), np.arange(5, 15)]
    seen, places = hide(masker(0.5), "train", rows, np.array([3, 9]), 32)
    assert len(places) == 15
    for row, draw, width in zip(range(2), (3, 9), (20, 10), strict=True):
        mine = places[places // 32 == row] % 32
        assert mine.tolist() == masker(0.5).mask("train", rows[row], draw)[1].tolist()
        assert len(seen[row]) == width


def test_a_tokenizer_must_have_a_mask():
    with pytest.raises(UserError) as caught:
        Masker.of(train("character", iter(["abc"]), 20, GPT), 0.15, 0)
    assert caught.value.reason == "TOKENIZER_WITHOUT_MASK"
    assert caught.value.violations[0].field == "tokenizer.path"
    tokenizer = train("character", iter(["abc"]), 20, BERT)
    tool = Masker.of(tokenizer, 0.15, 0)
    assert tool.mask_id == tokenizer.mask_id
    assert set(np.flatnonzero(tool.special).tolist()) == tokenizer.special_ids
