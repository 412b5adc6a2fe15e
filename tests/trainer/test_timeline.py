"""What is due when: the same however steps and epochs are told, on any number of ranks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.trainer.failure import UserError
from tessera.trainer.timeline import Timeline
from training import make_settings, make_tuning


def timeline(examples=100, held_out=7, **changes) -> Timeline:
    plain = {"steps": 0, "epochs": 0.0, "batch_size": 8, "eval_every": 0, "publish_every": 0}
    told = make_settings(**{**plain, **changes})
    return Timeline.of(told, examples=examples, held_out=held_out)


def due(line: Timeline, asked) -> list[int]:
    return [step for step in range(1, line.steps + 1) if asked(step)]


def test_a_run_of_epochs():
    line = timeline(
        epochs=3.0, eval_every_epochs=1.0, publish_every_epochs=0.5, warmup_ratio=0.1, log_every=20
    )
    assert (line.steps, line.steps_per_epoch) == (38, 12.5)
    assert line.schedule.warmup == 4
    # At the first step at which so many epochs are over.
    assert due(line, line.evaluates_at) == [13, 25, 38]
    assert due(line, line.publishes_at) == [7, 13, 19, 25, 32, 38]
    assert due(line, line.logs_at) == [20, 38]
    assert line.epochs(8 * 25) == 2.0
    assert line.describe() == (
        "100 examples to train on, 7 held out; an epoch is 12.5 steps of 8, the run 38 steps or "
        "3.04 epochs"
    )


def test_a_run_of_steps():
    line = timeline(steps=50, eval_every=20, publish_every_epochs=2.0, warmup_steps=5)
    assert (line.steps, line.schedule.warmup) == (50, 5)
    assert due(line, line.evaluates_at) == [20, 40, 50]
    assert due(line, line.publishes_at) == [25, 50]


def test_few_examples_are_seen_more_often():
    line = timeline(
        epochs=3.0, min_steps=50, eval_every_ratio=0.1, publish_every_ratio=0.3, warmup_ratio=0.1
    )
    assert (line.steps, line.schedule.warmup) == (50, 5)
    assert due(line, line.evaluates_at) == list(range(5, 51, 5))
    assert due(line, line.publishes_at) == [15, 30, 45, 50]
    assert timeline(epochs=5.0, min_steps=50).steps == 63


def test_only_at_the_end():
    line = timeline(epochs=2.0)
    assert due(line, line.evaluates_at) == due(line, line.publishes_at) == [25]


def test_more_often_than_there_are_steps():
    line = timeline(examples=20, epochs=1.0, eval_every_epochs=0.01)
    assert due(line, line.evaluates_at) == [1, 2, 3]


@settings(deadline=None, max_examples=60)
@given(
    examples=st.integers(1, 300),
    epochs=st.integers(1, 6),
    parts=st.integers(1, 4),
    batch_size=st.integers(1, 64),
)
def test_as_many_are_due_as_the_run_has_parts(examples, epochs, parts, batch_size):
    line = timeline(
        examples=examples,
        epochs=float(epochs),
        eval_every_epochs=1 / 2**parts,
        batch_size=batch_size,
    )
    found = due(line, line.evaluates_at)
    assert len(found) == min(line.steps, len(found)) <= epochs * 2**parts
    if batch_size * 2**parts <= examples:
        assert len(found) == epochs * 2**parts
    for nth, step in enumerate(found if len(found) == epochs * 2**parts else [], 1):
        assert (step - 1) * batch_size < nth * examples / 2**parts <= step * batch_size


def test_a_data_set_without_an_end_is_counted_in_steps():
    line = timeline(examples=0, steps=5, eval_every=2)
    assert (line.steps, line.steps_per_epoch, line.epochs(8)) == (5, None, None)
    assert due(line, line.evaluates_at) == [2, 4, 5]
    assert line.describe() == "a data set without an end, 7 held out; 5 steps"


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"examples": 0, "epochs": 1.0}, "EPOCHS_UNKNOWN", "train.epochs"),
        (
            {"examples": 0, "steps": 4, "eval_every_epochs": 1.0},
            "EPOCHS_UNKNOWN",
            "train.eval_every_epochs",
        ),
        (
            {"examples": 0, "steps": 4, "publish_every_epochs": 1.0},
            "EPOCHS_UNKNOWN",
            "publish.every_epochs",
        ),
        (
            {"epochs": 1.0, "warmup_steps": 14},
            "WARMUP_LONGER_THAN_STEPS",
            "train.warmup_steps",
        ),
        (
            {"epochs": 1.0, "tuning": make_tuning(freeze=("encoder",), freeze_steps=14)},
            "FREEZE_STEPS",
            "tuning.freeze_steps",
        ),
    ],
)
def test_what_cannot_be(changes, reason, field):
    with pytest.raises(UserError) as caught:
        timeline(**changes)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field
