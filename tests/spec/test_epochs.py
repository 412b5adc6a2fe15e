"""Epochs to steps."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.spec import resolve
from tessera.spec.document import parse_document
from tessera.spec.epochs import expected, period, steps_of

EPOCHS = st.floats(1e-6, 1e6)
EXAMPLES = st.integers(1, 10**12)
SIZES = st.integers(1, 1 << 20)


@pytest.mark.parametrize(
    ("epochs", "examples", "batch_size", "steps"),
    [
        (3, 1000, 8, 375),
        (3, 1001, 8, 376),
        (1, 5, 8, 1),
        (0.3, 10, 1, 3),  # As a binary number 0.3 is a little less, 3 * 0.1 a little more.
        (0.7, 10, 1, 7),
        (1e-6, 10, 8, 1),
        (2.5, 4, 5, 2),
    ],
)
def test_steps(epochs, examples, batch_size, steps):
    assert steps_of(epochs, examples, batch_size) == steps


@given(EPOCHS, EXAMPLES, SIZES)
def test_the_last_step_and_no_earlier_one_ends_the_last_epoch(epochs, examples, batch_size):
    steps, wanted = steps_of(epochs, examples, batch_size), Fraction(repr(epochs)) * examples
    assert steps * batch_size >= wanted
    assert steps == 1 or (steps - 1) * batch_size < wanted
    assert math.isclose(period(epochs, examples, batch_size), epochs * examples / batch_size)


@given(st.integers(1, 1000), EXAMPLES, SIZES)
def test_whole_epochs_are_that_many_times_the_examples(epochs, examples, batch_size):
    assert steps_of(epochs, examples, batch_size) == max(1, -(-epochs * examples // batch_size))


CLASSES = "model: {family: bert}\ntask: {kind: classification}\ndata: {files: ['s3://a/x.csv']}\n"
ANSWERS = CLASSES.replace("classification", "question_answering")
TEXT = "model: {family: bert}\ndata: {files: ['s3://a/x.jsonl']}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            CLASSES + "train: {epochs: 3, batch_size: 32}\n",
            "226.2 steps of 32 are an epoch, 679 the 3 epochs of the run",
        ),
        (
            CLASSES + "train: {steps: 500, batch_size: 32}\n",
            "226.2 steps of 32 are an epoch, the run of 500 steps 2.21 epochs",
        ),
        (
            ANSWERS + "train: {epochs: 0.5, batch_size: 32}\n",
            "at least 226.2 steps of 32 are an epoch, at least 114 the 0.5 epochs of the run",
        ),
        (
            CLASSES + "train: {epochs: 1, min_steps: 500, batch_size: 32}\n",
            "226.2 steps of 32 are an epoch, 500 the run",
        ),
        (TEXT + "train: {epochs: 3}\n", ""),
        (
            TEXT + "task: {packing: false}\ntrain: {epochs: 1}\n",
            "904.9 steps of 8 are an epoch, 905 the 1 epochs of the run",
        ),
        ("model: {family: gpt}\ndata: {files: ['s3://a/x.jsonl']}\n", ""),
    ],
)
def test_what_a_client_expects(text, told):
    spec = resolve(parse_document(f"name: a\n{text}", "job.yaml", None).spec)
    assert expected(spec, 7239) == told
    assert not expected(spec, 0)
