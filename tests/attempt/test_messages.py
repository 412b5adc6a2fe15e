"""Progress and failures cross the wire whole."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera import validation
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.attempt.failure import Failure, FailureCategory
from tessera.attempt.messages import (
    failure_from_pb,
    failure_to_pb,
    progress_from_pb,
    progress_to_pb,
)
from tessera.attempt.progress import Progress

whole, words = st.integers(0, 2**31 - 1), st.text(max_size=20)
number = st.floats(allow_nan=False)


@given(
    st.builds(
        Failure,
        category=st.sampled_from(FailureCategory),
        reason=st.text("ABC_", min_size=1),
        message=words,
        rank=st.integers(-1, 1000),
        traceback=words,
        exit_code=st.integers(-255, 255),
    )
)
def test_a_failure_comes_back_as_it_went(failure):
    sent = failure_to_pb(failure).SerializeToString()
    assert failure_from_pb(pb.Failure.FromString(sent)) == failure


counts = ("step", "total_steps", "version", "examples", "held_out_examples", "evaluated_examples")
maybe = ("held_out_loss", "baseline_loss", "seconds_left", "epoch", "steps_per_epoch")


@given(
    st.builds(
        Progress,
        **dict.fromkeys(counts, whole),
        **dict.fromkeys(maybe, st.none() | number),
        loss=number,
        tokens_per_second=number,
        phase=words,
        metrics=st.dictionaries(words, number, max_size=3),
    )
)
def test_progress_comes_back_as_it_went(progress):
    sent = progress_to_pb(progress).SerializeToString()
    assert progress_from_pb(pb.Progress.FromString(sent)) == progress


@pytest.mark.parametrize(("kind", "message"), [(Failure, pb.Failure), (Progress, pb.Progress)])
def test_fields_are_those_of_the_message(kind, message):
    assert {field.name for field in fields(kind)} == set(message.DESCRIPTOR.fields_by_name)


def test_every_category_has_its_number():
    told = {
        name.removeprefix("FAILURE_CATEGORY_")
        for name in pb.FailureCategory.DESCRIPTOR.values_by_name
    }
    assert told == {"UNSPECIFIED", *FailureCategory.__members__}


def test_what_a_newer_driver_tells_is_not_lost():
    told = failure_from_pb(pb.Failure(category=99, message="new"))
    assert (told.category, told.reason) == (FailureCategory.INTERNAL, "UNKNOWN")


@pytest.mark.parametrize("times", [1, 127, 128, 8193, 70_000])
def test_what_nobody_chose_the_length_of_is_cut_to_what_is_taken(times):
    text = "é" * times
    failure = Failure(category=FailureCategory.USER, reason=text, message=text, traceback=text)
    metrics = {f"{number}{text[:400]}": 1.0 for number in range(300)}
    for message in (failure_to_pb(failure), progress_to_pb(Progress(phase=text, metrics=metrics))):
        validation.check(message)
    assert failure_to_pb(failure).message == text[:8192]
