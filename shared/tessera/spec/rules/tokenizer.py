"""Rules for the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.models.registry import family
from tessera.spec.rules.problem import Problem, Rule

BYTES = 256
"""Tokens that a vocabulary of bytes has before it learns any."""

_LEARNED = ("kind", "vocab_size", "lowercase")


def _given(spec: JobSpec) -> Iterator[Problem]:
    if spec.tokenizer.path:
        reason, origin = "TOKENIZER_FIELD_WITH_PATH", "tokenizer.path brings one"
    elif spec.model.HasField("init"):
        reason, origin = "TOKENIZER_FIELD_WITH_INIT", "the version of model.init brings one"
    else:
        return
    stated = {field.name for field, _ in spec.tokenizer.ListFields()}
    for name in _LEARNED:
        if name in stated:
            yield Problem(
                reason=reason,
                field=f"tokenizer.{name}",
                description=f"no tokenizer is learned, for {origin}; leave this out",
            )


def _size(spec: JobSpec) -> Iterator[Problem]:
    tokenizer = spec.tokenizer
    if not tokenizer.HasField("vocab_size"):
        return
    least = least_size(tokenizer.kind, spec.model.family)
    if tokenizer.vocab_size < least:
        yield Problem(
            reason="VOCABULARY_TOO_SMALL",
            field="tokenizer.vocab_size",
            description=f"a {tokenizer.kind} tokenizer of a {spec.model.family} takes at least "
            f"{least}: what it begins with, and special tokens",
        )


def least_size(kind: str, name: str) -> int:
    """The smallest vocabulary that a tokenizer of that kind can do with, by a family's name."""
    return (BYTES if kind == "byte_bpe" else 1) + len(family(name).special.names)


RULES: tuple[Rule, ...] = (_given, _size)
