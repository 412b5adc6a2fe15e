"""Every limit that a .proto states of a request holds: what is just outside is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from tessera import errors, validation

from .limits import (
    KINDS,
    REQUESTS,
    REQUIRED,
    TEXT,
    good,
    is_map,
    limits,
    message_in,
    places,
    put,
    reach,
    rules_of,
    stated,
    step,
    typed,
)

# What may be as large as anybody likes: the model, the store or the run bounds it, or nothing must.
OPEN = {
    *(name for name in REQUIRED if name.endswith((".model", "JobRequest.name"))),
    "StreamLogsRequest.name",
    "StreamMetricsRequest.name",
    "GenerateRequest.text",
    "GenerateRequest.max_tokens",
    "TranslateRequest.max_tokens",
    "ClassifyRequest.top_k",
    "Sampling.top_k",
    "Sampling.seed",
    "Input.text",
    "Input.pair",
    "Tokens.ids",
    "Tokens.ids[]",
    "GetDigestsRequest.boxes",
    "DigestQuery.tensor",
    "DigestQuery.offsets",
    "DigestQuery.offsets[]",
    "DigestQuery.extents",
    "DigestQuery.extents[]",
    "JobSpec.code",
    "DataSpec.max_bytes",
    "TrainSpec.clip_norm",
    "TrainSpec.seed",
    "TrainSpec.eval_every",
    "TrainSpec.eval_batches",
    "TrainSpec.log_every",
    "PublishSpec.every",
    "ListJobsRequest.page_token",
    "ListJobsRequest.filter",
    "WatchJobRequest.cursor",
    "StreamLogsRequest.attempt",
    "StreamLogsRequest.source",
    "StreamLogsRequest.tail",
    "StreamMetricsRequest.after_step",
} - {"JobSpec.model"}
# What may be as far below zero as anybody likes.
BOTTOMLESS = {
    "Tokens.ids[]",
    "DigestQuery.offsets[]",
    "DigestQuery.extents[]",
    "StreamMetricsRequest.after_step",
}
ABOVE = {"lte", "lt", "max_len", "in", "pattern", "max_items", "max_pairs"}
BELOW = {"gte", "gt", "min_len"}


def cases() -> Iterator[Any]:
    for request in REQUESTS:
        for path, kind in places(request):
            way = "".join(map(step, path))
            for field in kind.fields:
                for limit in limits(field):
                    name = f"{request.name} {way}{field.name} {limit.rule}"
                    yield pytest.param(request, path, way, field, limit, id=name)


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


def test_what_has_no_end_is_known():
    above, below = set(), set()
    for kind in KINDS:
        for field in kind.fields:
            name, rules = f"{kind.name}.{field.name}", rules_of(field)
            if field.is_repeated and not ABOVE & stated(typed(rules)).keys():
                above.add(name)
            if is_map(field):
                key, value = stated(rules.map.keys.string), stated(rules.map.values.string)
                assert ABOVE & key.keys(), name
                assert message_in(field) is not None or ABOVE & value.keys(), name
                continue
            if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL or field.message_type is not None:
                continue
            each = stated(typed(rules.repeated.items if field.is_repeated else rules)).keys()
            name += "[]" * field.is_repeated
            if not ABOVE & each:
                above.add(name)
            # Whether a single text may be empty is what the test above knows.
            if (field.is_repeated or field.cpp_type != TEXT) and not BELOW & each:
                below.add(name)
    assert above == OPEN
    assert below == BOTTOMLESS
