"""What must hold of a spec beyond the limits of each of its fields."""

from __future__ import annotations

import math
from collections.abc import Iterator

from google.protobuf.message import Message

from tessera import errors, validation
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec.resolve import resolve
from tessera.spec.rules import data, model, resources, secrets, task, tokenizer, train, tuning
from tessera.spec.rules.files import url_problems
from tessera.spec.rules.problem import Problem

_PARTS = (model, task, tokenizer, data, train, tuning, secrets, resources)


def check(spec: JobSpec, *, uploaded: bool = True) -> None:
    """Raise if a spec, resolved or not, cannot be run.

    Args:
        spec: the spec.
        uploaded: whether local paths must have been replaced by blob:// already.

    Raises:
        InvalidArgumentError: with the reason of the first problem and a violation for each.
    """
    validation.check(spec)
    resolved = resolve(spec)
    validation.check(resolved)
    found = list(_finite(resolved))
    found += [problem for part in _PARTS for rule in part.RULES for problem in rule(resolved)]
    found += url_problems(resolved, uploaded=uploaded)
    if not found:
        return
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise errors.InvalidArgumentError(
        f"{first.field}: {first.description}{more}",
        reason=first.reason,
        violations=[errors.Violation(problem.field, problem.description) for problem in found],
    )


def _finite(message: Message, path: str = "") -> Iterator[Problem]:
    for field, value in message.ListFields():
        inner = f"{path}{field.name}"
        if isinstance(value, float) and not math.isfinite(value):
            yield Problem(reason="INVALID_FIELD", field=inner, description="must be finite")
        elif isinstance(value, Message):
            yield from _finite(value, f"{inner}.")
