"""Rules for the sizes of a model and where its weights come from."""

from __future__ import annotations

from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.models.config import ModelConfig
from tessera.models.registry import family
from tessera.models.sizes import SIZES
from tessera.models.tasks import count_parameters
from tessera.spec.reference import reference_problem
from tessera.spec.rules.problem import Problem, Rule

MAX_PARAMETERS = 10**13
"""Ten times the largest models that are known of; more is a slip of the keyboard."""

_STACKS = ("encoder", "decoder")
_SHARED = ("decoder_layers", "share_embeddings")
_COUNTED = {"layers", "heads", "width", "ff_width", "context"}


def model_config(spec: JobSpec, vocab_size: int) -> ModelConfig:
    """The sizes of the model of a resolved spec that states them all.

    Raises:
        InvalidArgumentError: they do not go together.
    """
    known, task = family(spec.model.family), spec.task
    sizes = {field.name: value for field, value in spec.model.ListFields() if field.name in SIZES}
    chosen = known.task(task.kind, labels=tuple(task.labels), multi_label=task.multi_label)
    return known.config(sizes, chosen, vocab_size=vocab_size)


def _family(spec: JobSpec) -> Iterator[Problem]:
    known = family(spec.model.family)
    if known.encoder is not None and known.decoder is not None:
        return
    stated = {field.name for field, _ in spec.model.ListFields()}
    for name in _SHARED:
        if name in stated:
            yield Problem(
                reason="FIELD_NOT_FOR_FAMILY",
                field=f"model.{name}",
                description=f"a {known.name} has no encoder beside a decoder; leave this out",
            )


def _heads(spec: JobSpec) -> Iterator[Problem]:
    heads, width = spec.model.heads, spec.model.width
    if heads and width % heads:
        yield Problem(
            reason="HEADS_DO_NOT_DIVIDE_WIDTH",
            field="model.heads",
            description=f"{heads} heads do not divide a width of {width}; "
            f"{_divisor(width, heads)} would",
        )


def _kv_heads(spec: JobSpec) -> Iterator[Problem]:
    heads, kv_heads = spec.model.heads, spec.model.kv_heads
    if kv_heads and heads % kv_heads:
        yield Problem(
            reason="KV_HEADS_DO_NOT_DIVIDE_HEADS",
            field="model.kv_heads",
            description=f"{kv_heads} heads of keys and values do not divide {heads} heads; "
            f"{_divisor(heads, kv_heads)} would",
        )


def _rotary(spec: JobSpec) -> Iterator[Problem]:
    heads, width = spec.model.heads, spec.model.width
    if spec.model.positions == "rotary" and heads and not width % heads and width // heads % 2:
        yield Problem(
            reason="ROTARY_HEAD_ODD",
            field="model.positions",
            description=f"rotary positions turn pairs, but {heads} heads of a width of {width} "
            f"have an odd {width // heads} each; take another number of heads",
        )


def _rotary_base(spec: JobSpec) -> Iterator[Problem]:
    model = spec.model
    if not model.HasField("rotary_base") or model.positions == "rotary":
        return
    if model.HasField("init") and not model.positions:
        return  # The positions are the version's, which the trainer reads.
    yield Problem(
        reason="BASE_WITHOUT_ROTARY",
        field="model.rotary_base",
        description="only rotary positions have a base; set model.positions to rotary, or leave "
        "this out",
    )


def _size(spec: JobSpec) -> Iterator[Problem]:
    stated = {field.name for field, _ in spec.model.ListFields()}
    if not stated >= _COUNTED or any(True for rule in _SHAPE for _ in rule(spec)):
        return
    vocabulary = spec.tokenizer.vocab_size if spec.tokenizer.HasField("vocab_size") else 1
    parameters = count_parameters(model_config(spec, vocabulary))
    if parameters > MAX_PARAMETERS:
        yield Problem(
            reason="MODEL_TOO_LARGE",
            field="model",
            description=f"these sizes make {parameters:.3g} parameters; "
            f"at most {MAX_PARAMETERS:.0e} are allowed",
        )


def _init(spec: JobSpec) -> Iterator[Problem]:
    if not spec.model.HasField("init"):
        return
    named = {field.name: value for field, value in spec.model.init.ListFields()}
    if not named:
        yield _parts("model.init", "it names no version; give `from`, or `encoder` and `decoder`")
    if "from" in named and len(named) > 1:
        yield _parts(
            "model.init.from",
            "a whole version leaves no part open; give `from`, or `encoder` and `decoder`",
        )
    known = family(spec.model.family)
    for part in _STACKS:
        if part in named and getattr(known, part) is None:
            yield _parts(
                f"model.init.{part}", f"a {known.name} has no {part}; give `from` in its place"
            )
    for name, version in named.items():
        if problem := reference_problem(version):
            yield Problem(
                reason="INVALID_REFERENCE", field=f"model.init.{name}", description=problem
            )


def _parts(field: str, description: str) -> Problem:
    return Problem(reason="INIT_PARTS", field=field, description=description)


def _divisor(of: int, near: int) -> int:
    """The divisor that is nearest to a number which is none."""
    return min((n for n in range(1, of + 1) if not of % n), key=lambda n: abs(n - near))


_SHAPE: tuple[Rule, ...] = (_heads, _kv_heads, _rotary)

RULES: tuple[Rule, ...] = (_family, *_SHAPE, _rotary_base, _size, _init)
