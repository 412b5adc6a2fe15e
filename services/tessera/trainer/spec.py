"""The JobSpec message to what the trainer reads; the defaults are those that spec.proto states."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf import json_format

from tessera.api.controller.v1 import spec_pb2 as pb
from tessera.models.registry import family
from tessera.trainer.settings import Settings

T = TypeVar("T", int, float, bool)

_SIZES = ("layers", "heads", "width", "ff_width", "context", "dropout", "tie_embeddings")


def settings_of(spec: pb.JobSpec) -> Settings:
    """The settings of a spec.

    Raises:
        InvalidArgumentError: UNKNOWN_FAMILY, or a batch that does not divide.
    """
    return Settings(
        name=spec.name,
        **_model(spec),
        **_data(spec),
        **_train(spec),
        **_resources(spec),
        publish_set=spec.publish.set or spec.name,
        publish_every=_get(spec.publish, "every", max(1, _get(spec.train, "steps", 1000) // 5)),
        publish_keep=_get(spec.publish, "keep", 3),
        strategy=spec.parallel.strategy or "fsdp",
        entrypoint=spec.entrypoint,
        code=spec.code,
        spec_json=spec_json(spec),
    )


def spec_json(spec: pb.JobSpec) -> bytes:
    """The content of `job.json`."""
    text = json_format.MessageToJson(spec, preserving_proto_field_name=True, sort_keys=True)
    return text.encode()


def settings_of_json(text: str | bytes) -> Settings:
    """The settings of a spec in proto3 JSON form."""
    return settings_of(json_format.Parse(text, pb.JobSpec()))


def _model(spec: pb.JobSpec) -> dict[str, Any]:
    model = spec.model
    presets = family(model.family).presets
    sizes = dict(presets.get(model.preset, {})) if model.preset else {}
    sizes.update({name: getattr(model, name) for name in _SIZES if _has(model, name)})
    return {"family": model.family, "sizes": sizes, "init": getattr(model.init, "from")}


def _data(spec: pb.JobSpec) -> dict[str, Any]:
    return {
        "vocab_size": _get(spec.tokenizer, "vocab_size", 4096),
        "tokenizer_path": spec.tokenizer.path,
        "files": tuple(spec.data.files),
        "held_out": _get(spec.data, "held_out", 0.05),
        "max_bytes": _get(spec.data, "max_bytes", 0),
    }


def _train(spec: pb.JobSpec) -> dict[str, Any]:
    train = spec.train
    steps, lr = _get(train, "steps", 1000), _get(train, "lr", 1e-3)
    return {
        "steps": steps,
        "batch_size": _get(train, "batch_size", 8 * _get(spec.resources, "workers", 1)),
        "sequence_length": _get(train, "sequence_length", 0),
        "grad_accumulation": _get(train, "grad_accumulation", 1),
        "lr": lr,
        "min_lr": _get(train, "min_lr", lr / 10),
        "warmup_steps": _get(train, "warmup_steps", steps // 20),
        "weight_decay": _get(train, "weight_decay", 0.1),
        "beta1": _get(train, "beta1", 0.9),
        "beta2": _get(train, "beta2", 0.95),
        "clip_norm": _get(train, "clip_norm", 1.0),
        "precision": train.precision or "auto",
        "seed": _get(train, "seed", 0),
        "eval_every": _get(train, "eval_every", max(1, steps // 10)),
        "eval_batches": _get(train, "eval_batches", 20),
        "log_every": _get(train, "log_every", 10),
    }


def _resources(spec: pb.JobSpec) -> dict[str, Any]:
    resources = spec.resources
    wanted = resources.accelerator
    count = _get(wanted, "count", 1.0) if resources.HasField("accelerator") else 0.0
    return {
        "workers": _get(resources, "workers", 1),
        "cpus_per_worker": _get(resources, "cpus_per_worker", 1.0),
        "accelerator": wanted.type,
        "accelerators_per_worker": count,
    }


def _get(message: Any, name: str, default: T) -> T:
    return getattr(message, name) if message.HasField(name) else default


def _has(message: Any, name: str) -> bool:
    return bool(message.HasField(name))
