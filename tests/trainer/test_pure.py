"""Schedule, order of samples, split, baseline, outbox, failures: no torch, no processes."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.data.split import Text, split
from tessera.models.lora_config import LoRAConfig
from tessera.trainer.control.attempt import AttemptRecord, Ended
from tessera.trainer.control.commands import CommandQueue, StepCommands
from tessera.trainer.control.outbox import Outbox
from tessera.trainer.control.output import Lines
from tessera.trainer.data.sampler import Sampler, windows
from tessera.trainer.failure import (
    Category,
    CollateralError,
    EntrypointError,
    Failure,
    UserError,
    classify,
    root_cause,
)
from tessera.trainer.position import Position
from tessera.trainer.step.schedule import Schedule
from tessera.trainer.tasks.counting import bigram_loss
from training import make_tuning


def test_the_rate_rises_to_its_peak_and_falls_to_its_floor():
    schedule = Schedule(steps=100, warmup=10, peak=1.0, floor=0.1)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[99] == pytest.approx(0.1)
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[54] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 44 / 89)))


@given(st.integers(1, 50), st.integers(0, 60))
def test_every_rate_is_within_bounds(steps, warmup):
    schedule = Schedule(steps=steps, warmup=warmup, peak=2.0, floor=0.5)
    for step in range(steps):
        assert 0 < schedule.rate(step) <= 2.0


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


@given(
    st.lists(st.text("abc", min_size=1, max_size=8), min_size=2, max_size=30, unique=True),
    st.floats(0.01, 0.99),
)
def test_a_split_by_file_is_stable_and_has_two_parts(names, share):
    texts = [Text(name=name, content=f"text of {name}") for name in names]
    kept, apart = split(texts, share)
    assert kept
    assert apart
    assert sorted(t.name for t in [*kept, *apart]) == sorted(names)
    again, _ = split([*texts, Text(name="new!", content="x")], share)
    if len(kept) > 1 and len(apart) > 1 and len(names) > 4:
        assert {t.name for t in kept} <= {t.name for t in again}


def test_a_single_file_gives_its_tail():
    kept, apart = split([Text(name="a", content="0123456789" * 10)], 0.2)
    assert kept[0].content + apart[0].content == "0123456789" * 10
    assert len(apart[0].content) == 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=60), st.lists(st.integers(0, 6), min_size=2)
)
def test_the_bigram_baseline_is_what_counting_says(train, held_out):
    pairs, seen = Counter(itertools.pairwise(train)), Counter(train[:-1])
    expected = np.mean(
        [-math.log((pairs[a, b] + 1) / (seen[a] + 7)) for a, b in itertools.pairwise(held_out)]
    )
    found = bigram_loss(
        np.array(train, dtype=np.uint16), np.array(held_out[:-1]), np.array(held_out[1:]), 7
    )
    assert found == pytest.approx(expected)


def test_an_outbox_keeps_numbers_until_they_are_acknowledged():
    outbox: Outbox[str] = Outbox(3, lambda item: item != "keep")
    for item in ("a", "b"):
        outbox.put(item)
    assert outbox.batch(1) == [(1, "a")]
    assert outbox.batch(5) == [(1, "a"), (2, "b")]
    outbox.acknowledge(1)
    assert outbox.batch(5) == [(2, "b")]
    for item in ("keep", "c", "d", "e"):
        outbox.put(item)
    assert outbox.lost == 1
    assert outbox.batch(9) == [(2, "b"), (3, "keep"), (4, "d"), (5, "e")]
    outbox.acknowledge(5)
    assert outbox.empty


@given(st.lists(st.text("ab\n\r", max_size=6)))
def test_lines_are_the_same_however_they_are_cut(parts):
    outbox: Outbox[str] = Outbox(1000)
    lines = Lines(outbox.put)
    for part in parts:
        lines.write(part)
    whole = "".join(parts).split("\n")[:-1]
    expected = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in whole]
    assert [line for _, line in outbox.batch(1000)] == expected


def test_commands_are_taken_once():
    commands = CommandQueue()
    assert commands.take() == StepCommands()
    commands.update(2, stop=False, checkpoint_before_stop=True)
    commands.update(2, stop=False, checkpoint_before_stop=True)
    assert commands.take() == StepCommands(checkpoint=True)
    assert commands.take() == StepCommands()
    commands.update(2, stop=True, checkpoint_before_stop=False)
    assert commands.take() == StepCommands(stop=True)
    assert StepCommands.from_numbers(
        *StepCommands(checkpoint=True, stop=True).to_numbers()
    ) == StepCommands(checkpoint=True, stop=True)


def test_a_position_keeps_everything():
    position = Position(step=3, samples=24, epoch=1, seed=7, world_size=2, data="ab")
    assert Position.from_json(position.to_json()) == position


def failed(rank, **changes):
    return Failure(
        **{"category": Category.INTERNAL, "reason": "X", "message": "x", "rank": rank, **changes}
    )


@pytest.mark.parametrize(
    ("error", "category", "reason", "collateral"),
    [
        (UserError("x", reason="DATA_EMPTY"), Category.USER, "DATA_EMPTY", False),
        (EntrypointError("x"), Category.USER, "ENTRYPOINT_FAILED", False),
        (CollateralError("x"), Category.WORKER_LOST, "ANOTHER_RANK_FAILED", True),
        (errors.UnavailableError("x"), Category.WORKER_LOST, "UNAVAILABLE", False),
        (
            RuntimeError("[gloo/transport/tcp] Connection closed by peer"),
            Category.WORKER_LOST,
            "WORKER_LOST",
            True,
        ),
        (KeyError("x"), Category.INTERNAL, "TRAINER_FAILED", False),
    ],
)
def test_what_was_raised_decides_what_follows(error, category, reason, collateral):
    failure = classify(error, 1)
    assert (failure.category, failure.reason, failure.collateral) == (category, reason, collateral)
    assert failure.rank == 1


def test_the_users_own_traceback_is_shown():
    try:
        try:
            {}["mine"]
        except KeyError as cause:
            raise EntrypointError("entrypoint raised") from cause
    except EntrypointError as error:
        failure = classify(error, 0)
    assert '{}["mine"]' in failure.traceback
    assert "EntrypointError" not in failure.traceback


def test_the_rank_that_did_it_is_blamed():
    suffering = failed(0, collateral=True)
    assert root_cause({0: suffering, 1: failed(1)}, {}).rank == 1
    assert root_cause({0: suffering}, {1: failed(1, reason="WORKER_LOST")}).rank == 1
    assert root_cause({0: suffering}, {0: failed(0)}) is suffering
    assert root_cause({}, {}).reason == "TRAINER_FAILED"


def test_an_attempt_ends_well_only_if_nobody_failed():
    record = AttemptRecord(job="j", attempt=1, total_steps=5, world_size=2)
    assert record.ended({}).failure is not None
    record.outcome = Ended(version=4)
    assert record.ended({}) == Ended(version=4)
    record.rank_failures[1] = failed(1)
    assert record.ended({}).failure == failed(1)


_WEIGHTS = st.lists(
    st.sampled_from([
        ("trunk.encoder.embeddings.tokens.weight", "heads.masked.projection.weight"),
        ("trunk.encoder.blocks.0.attention.qkv.weight",),
        ("trunk.encoder.blocks.0.attention.qkv.lora_a",),
        ("trunk.decoder.embeddings.positions.weight",),
        ("trunk.decoder.blocks.1.mlp.up.weight",),
        ("heads.masked.dense.weight",),
    ]),
    min_size=1,
    unique=True,
)  # fmt: skip
_PARTS = {
    "encoder": lambda name: name.startswith("trunk.encoder."),
    "decoder": lambda name: name.startswith("trunk.decoder."),
    "embeddings": lambda name: ".embeddings." in name,
    "trunk": lambda name: name.startswith("trunk."),
    "heads": lambda name: name.startswith("heads."),
    "trunk.decoder.b": lambda name: name.startswith("trunk.decoder.b"),
}


@given(
    _WEIGHTS,
    st.lists(st.sampled_from(list(_PARTS)), max_size=2),
    st.sampled_from(["full", "lora"]),
    st.integers(0, 1),
)
def test_what_is_named_does_not_learn_and_all_else_does(weights, freeze, method, steps):
    lora = LoRAConfig() if method == "lora" else None
    tuning = make_tuning(lora=lora, freeze=tuple(freeze), freeze_steps=steps)
    named = {names[0] for names in weights for part in freeze if any(map(_PARTS[part], names))}
    base = {
        names[0]
        for names in weights
        if method == "lora" and names[0].startswith("trunk.") and "lora_" not in names[0]
    }
    vain = [part for part in freeze if not any(map(_PARTS[part], itertools.chain(*weights)))]
    if vain or len(named | base) == len(weights):
        with pytest.raises(UserError) as caught:
            tuning.fixed(weights)
        reason = "FREEZE_MATCHES_NOTHING" if vain else "NOTHING_LEARNS"
        assert caught.value.reason == reason
        return
    assert tuning.fixed(weights) == (base if steps else named | base)
    assert tuning.frozen_at_start(weights) == (named - base if steps else set())
