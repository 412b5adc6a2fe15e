"""The defaults of a spec, filled in once, at submit, so that a retry runs the same thing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from google.protobuf.message import Message

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import JobSpec, ModelSpec
from tessera.models.registry import Family, family

MAX_BATCH = 1 << 20
"""The largest batch that the .proto allows."""

SIZES = ("layers", "heads", "width", "context", "dropout", "tie_embeddings")
"""Fields of `model` whose defaults the family's config states."""

Value = str | int | float | bool


def resolve(spec: JobSpec) -> JobSpec:
    """A copy of `spec` in which every default is filled in; what is set stays.

    With `model.init`, sizes that are not set stay open: they are those of the version. Resolving
    twice changes nothing more.

    Raises:
        InvalidArgumentError: UNKNOWN_FAMILY or UNKNOWN_PRESET.
    """
    done = JobSpec()
    done.CopyFrom(spec)
    _fill(done, {"kind": "train", "queue": "default", "retries": 2})
    _fill(done.resources, {"workers": 1, "cpus_per_worker": 1.0})
    if done.resources.HasField("accelerator"):
        _fill(done.resources.accelerator, {"count": 1.0})
    _fill_model(done.model)
    _fill(done.tokenizer, {"kind": "byte_bpe"})
    if not done.tokenizer.path:
        _fill(done.tokenizer, {"vocab_size": 4096})
    _fill(done.data, {"format": "text", "held_out": 0.05})
    _fill_train(done)
    _fill(done.parallel, {"strategy": "fsdp"})
    every = max(1, done.train.steps // 5)
    _fill(done.publish, {"set": done.name, "every": every, "keep": 3})
    return done


def preset_sizes(model: ModelSpec, known: Family) -> Mapping[str, Value]:
    """The sizes that the preset of `model` stands for; none without a preset.

    Raises:
        InvalidArgumentError: UNKNOWN_PRESET.
    """
    if not model.preset:
        return {}
    if model.preset in known.presets:
        return known.presets[model.preset]
    near = difflib.get_close_matches(model.preset, known.presets, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known.presets)}"
    description = f"the family `{known.name}` has no preset `{model.preset}`; {hint}"
    raise errors.InvalidArgumentError(
        f"model.preset: {description}",
        reason="UNKNOWN_PRESET",
        violations=[errors.Violation("model.preset", description)],
    )


def _fill_model(model: ModelSpec) -> None:
    known = family(model.family)
    sizes = preset_sizes(model, known)
    _fill(model, sizes)
    if model.HasField("init"):
        return  # What is still open is as in the version, which the trainer reads.
    fields = known.config.__dataclass_fields__
    _fill(model, {name: fields[name].default for name in SIZES})
    _fill(model, {"ff_width": 4 * model.width})


def _fill_train(spec: JobSpec) -> None:
    train, workers = spec.train, spec.resources.workers
    _fill(train, {"steps": 1000, "grad_accumulation": 1, "lr": 1e-3})
    gang = max(1, workers * train.grad_accumulation)
    steps = train.steps
    values: dict[str, Value] = {
        # As many whole micro-batches as make at least eight sequences for each worker.
        "batch_size": min(MAX_BATCH, gang * -(-8 * workers // gang)),
        "min_lr": train.lr / 10,
        "warmup_steps": steps // 20,
        "weight_decay": 0.1,
        "beta1": 0.9,
        "beta2": 0.95,
        "clip_norm": 1.0,
        "precision": "auto",
        "seed": 0,
        "eval_every": max(1, steps // 10),
        "eval_batches": 20,
        "log_every": 10,
    }
    _fill(train, values)
    if spec.model.HasField("context"):
        _fill(train, {"sequence_length": spec.model.context})


def _fill(message: Message, values: Mapping[str, object]) -> None:
    """Set those fields that are not set; a text without presence is set when it is not empty."""
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        unset = not message.HasField(name) if field.has_presence else not getattr(message, name)
        if unset:
            setattr(message, name, value)
