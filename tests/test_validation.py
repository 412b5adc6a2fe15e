"""Every limit that a .proto states of a request holds: what is just outside is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from tessera import errors, validation
from tessera.api.controller.v1 import attempt_pb2
from tessera.api.parameters.v1 import coordinator_pb2

from .limits import (
    KINDS,
    REQUESTS,
    REQUIRED,
    TEXT,
    good,
    is_map,
    is_ours,
    limits,
    places,
    put,
    reach,
    rules_of,
    stated,
    step,
    typed,
)

# Numbers that may be as large as anybody likes: they are compared, shown, or bounded by the model.
COMPARED = {
    *("version", "epoch", "attempt", "sequence", "cursor", "version_step"),
    *("step", "total_steps", "after_step", "examples", "held_out_examples", "evaluated_examples"),
    *("loss", "held_out_loss", "baseline_loss", "tokens_per_second", "seconds_left"),
    *("steps_per_epoch", "exit_code", "rank", "pid", "seed", "clip_norm"),
    *("every", "eval_every", "eval_batches", "log_every"),
    *("ids", "top_k", "max_tokens", "max_bytes", "tensor"),
}
# … against the file, or the tensor, that they lie in.
PLACES = {
    "Box": {"offsets", "extents"},
    "DigestQuery": {"offsets", "extents"},
    "PullItem": {"extents", "offset"},
    "PullRun": {"offsets"},
    "Slice": {"offset", "size"},
    "SliceHeader": {"size"},
    # … columns, which are also held against each other.
    "HeaderTable": {
        *("group", "tensor", "axes", "box_offsets", "box_extents", "size", "checksum", "view"),
    },
    "SliceTable": {
        *("place", "tensor", "axes", "box_offsets", "box_extents", "offset", "size"),
        *("checksum", "block_count", "blocks", "block_bytes", "view"),
    },
    "Tensor": {"shape"},
    "Version": {"number", "size"},
    "View": {"shape"},
}
# Numbers that may be as far below zero as anybody likes.
SIGNED = {"loss", "held_out_loss", "baseline_loss", "exit_code", "ids", "epoch"}
SIGNED |= {"tokens_per_second", "seconds_left", "steps_per_epoch"}
# Messages that are not ours, whose handler looks into them.
ELSEWHERE = {"JobEvent.details": "controller.services.attempts: as JSON, at most so many bytes"}
MANY = 20_000
"""Elements of a list that takes seconds to make."""
ABOVE = {"lte", "lt", "max_len", "in", "pattern", "max_items", "max_pairs"}
BELOW = {"gte", "gt"}
NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_FLOAT,
}


def cases() -> Iterator[Any]:
    for request in REQUESTS:
        for path, kind in places(request):
            way = "".join(map(step, path))
            for field in kind.fields:
                for limit in limits(field):
                    name = f"{request.name} {way}{field.name} {limit.rule}"
                    marks = [pytest.mark.slow] if limit.size > MANY else []
                    yield pytest.param(request, path, way, field, limit, id=name, marks=marks)


@pytest.mark.parametrize("request_kind", REQUESTS, ids=lambda kind: kind.name)
def test_what_has_all_that_is_required_is_taken(request_kind):
    validation.check(good(request_kind))


@pytest.mark.parametrize(("request_kind", "path", "way", "field", "limit"), list(cases()))
def test_what_is_just_outside_is_refused_by_name(request_kind, path, way, field, limit):
    message = good(request_kind)
    put(reach(message, path), field, limit.bad)
    with pytest.raises(errors.InvalidArgumentError) as refused:
        validation.check(message)
    assert refused.value.reason == "INVALID_FIELD"
    named = {found.field for found in refused.value.violations}
    assert named == {f"{way}{field.name}{limit.element}"}


def test_what_may_be_left_out_is_known():
    found = {
        f"{kind.name}.{violation.field}"
        for kind in KINDS
        for violation in validation.violations(GetMessageClass(kind)())
    }
    assert found == REQUIRED


def sized(rules: Any) -> bool:
    """Whether rules bound how much there may be."""
    return bool(ABOVE & stated(typed(rules)).keys())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.full_name)
def test_every_text_list_and_map_that_is_sent_has_an_end(kind):
    for field in kind.fields:
        name, rules = f"{kind.name}.{field.name}", rules_of(field)
        if is_map(field):
            assert rules.map.max_pairs, name
            assert sized(rules.map.keys), name
            value = field.message_type.fields_by_name["value"]
            assert value.cpp_type != TEXT or sized(rules.map.values), name
            continue
        if field.is_repeated:
            assert rules.repeated.max_items, name
        if field.cpp_type == TEXT:
            assert sized(rules.repeated.items if field.is_repeated else rules), name
        if field.message_type is not None and not is_ours(field) and name not in ELSEWHERE:
            assert sized(rules), name


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(1, -1), (1, 10**9), (1, 2**31 - 1), (253_402_300_799, -(2**31))]
)
def test_times_that_are_none_are_refused_by_name(seconds, nanos):
    request = attempt_pb2.ReportAttemptRequest(ref=attempt_pb2.AttemptRef(job="a", attempt=1))
    stamp = request.reports.add().metric.time
    stamp.seconds = seconds
    assert not validation.violations(request)
    stamp.nanos = nanos
    (found,) = validation.violations(request)
    assert found.field == "reports[0].metric.time"


def test_durations_that_are_none_are_refused_by_name():
    request = coordinator_pb2.PinVersionRequest(set="a/b", owner="o")
    request.ttl.seconds = 60
    assert not validation.violations(request)
    for nanos in (-1, 10**9):
        request.ttl.nanos = nanos
        assert [found.field for found in validation.violations(request)] == ["ttl"]


def test_numbers_without_an_end_are_known():
    above, below = set(), set()
    for kind in KINDS:
        for field in kind.fields:
            if is_map(field) or field.cpp_type not in NUMBERS:
                continue
            if field.name in PLACES.get(kind.name, ()):
                continue
            rules = rules_of(field)
            each = stated(typed(rules.repeated.items if field.is_repeated else rules)).keys()
            if not ABOVE & each:
                above.add(field.name)
            if not BELOW & each:
                below.add(field.name)
    assert above == COMPARED
    assert below == SIGNED
