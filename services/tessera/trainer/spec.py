"""The JobSpec message to what the trainer reads."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from tessera.api.controller.v1 import spec_pb2 as pb
from tessera.spec import resolve
from tessera.trainer.settings import Settings

_SIZES = ("layers", "heads", "width", "ff_width", "context", "dropout", "tie_embeddings")
_TRAIN = (
    "steps",
    "batch_size",
    "sequence_length",
    "grad_accumulation",
    "lr",
    "min_lr",
    "warmup_steps",
    "weight_decay",
    "beta1",
    "beta2",
    "clip_norm",
    "precision",
    "seed",
    "eval_every",
    "eval_batches",
    "log_every",
)


def settings_of(spec: pb.JobSpec) -> Settings:
    """The settings of a spec; what it leaves open gets the defaults that a submit gives it.

    Raises:
        InvalidArgumentError: UNKNOWN_FAMILY, UNKNOWN_PRESET, or a batch that does not divide.
    """
    full = resolve(spec)
    model, resources = full.model, full.resources
    return Settings(
        name=full.name,
        family=model.family,
        sizes=_sizes(model),
        init=getattr(model.init, "from"),
        vocab_size=full.tokenizer.vocab_size,
        tokenizer_path=full.tokenizer.path,
        files=tuple(full.data.files),
        held_out=full.data.held_out,
        max_bytes=full.data.max_bytes,
        **_train(full.train),
        strategy=full.parallel.strategy,
        publish_set=full.publish.set,
        publish_every=full.publish.every,
        publish_keep=full.publish.keep,
        workers=resources.workers,
        cpus_per_worker=resources.cpus_per_worker,
        accelerator=resources.accelerator.type,
        accelerators_per_worker=resources.accelerator.count,
        entrypoint=full.entrypoint,
        code=full.code,
        spec_json=spec_json(full),
    )


def spec_json(spec: pb.JobSpec) -> bytes:
    """The content of `job.json`."""
    text = json_format.MessageToJson(spec, preserving_proto_field_name=True, sort_keys=True)
    return text.encode()


def settings_of_json(text: str | bytes) -> Settings:
    """The settings of a spec in proto3 JSON form."""
    return settings_of(json_format.Parse(text, pb.JobSpec()))


def _train(train: pb.TrainSpec) -> dict[str, Any]:
    return {name: getattr(train, name) for name in _TRAIN}


def _sizes(model: pb.ModelSpec) -> dict[str, Any]:
    """Those that are set; with `init` the others are the version's."""
    stated = {field.name: value for field, value in model.ListFields()}
    return {name: stated[name] for name in _SIZES if name in stated}
