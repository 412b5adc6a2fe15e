"""The JobSpec message to what the trainer reads."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from tessera.api.controller.v1 import spec_pb2 as pb
from tessera.models.lora_config import LoRAConfig
from tessera.models.registry import family
from tessera.models.sizes import SIZES
from tessera.spec import resolve
from tessera.spec.quantity import quantity
from tessera.spec.settings import data_settings
from tessera.trainer.data.settings import TokenizerSettings
from tessera.trainer.secrets import SecretSource
from tessera.trainer.settings import Settings
from tessera.trainer.task_settings import TaskSettings
from tessera.trainer.tuning import Tuning

_TRAIN = (
    "steps",
    "epochs",
    "min_steps",
    "batch_size",
    "sequence_length",
    "grad_accumulation",
    "lr",
    "min_lr",
    "warmup_steps",
    "warmup_ratio",
    "weight_decay",
    "beta1",
    "beta2",
    "clip_norm",
    "precision",
    "seed",
    "eval_every",
    "eval_every_epochs",
    "eval_every_ratio",
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
        init_encoder=model.init.encoder,
        init_decoder=model.init.decoder,
        tokenizer=_tokenizer(full.tokenizer, model.family),
        tokenizer_path=full.tokenizer.path,
        data=data_settings(full.data),
        task=_task(full.task),
        tuning=_tuning(full.tuning),
        **_train(full.train),
        strategy=full.parallel.strategy,
        publish_set=full.publish.set,
        publish_every=full.publish.every,
        publish_every_epochs=full.publish.every_epochs,
        publish_every_ratio=full.publish.every_ratio,
        publish_keep=full.publish.keep,
        workers=resources.workers,
        cpus_per_worker=resources.cpus_per_worker,
        memory_per_worker=quantity(resources.memory_per_worker),
        accelerator=resources.accelerator.type,
        accelerators_per_worker=resources.accelerator.count,
        entrypoint=full.entrypoint,
        code=full.code,
        secrets={name: _secret(secret) for name, secret in full.secrets.items()},
        spec_json=spec_json(full),
    )


def as_admitted(spec: pb.JobSpec, workers: int) -> pb.JobSpec:
    """A spec for so many workers as were admitted: as many of them as share a batch evenly."""
    if not workers or workers == spec.resources.workers:
        return spec
    fewer = pb.JobSpec()
    fewer.CopyFrom(spec)
    parts = spec.train.grad_accumulation or 1
    able = (n for n in range(workers, 0, -1) if spec.train.batch_size % (n * parts) == 0)
    fewer.resources.workers = next(able, workers)
    return fewer


def spec_json(spec: pb.JobSpec) -> bytes:
    """The content of `job.json`."""
    text = json_format.MessageToJson(spec, preserving_proto_field_name=True, sort_keys=True)
    return text.encode()


def settings_of_json(text: str | bytes) -> Settings:
    """The settings of a spec in proto3 JSON form."""
    return settings_of(json_format.Parse(text, pb.JobSpec()))


def _train(train: pb.TrainSpec) -> dict[str, Any]:
    """Of fields that say the same in other units, those that are not set are 0."""
    return {name: getattr(train, name) for name in _TRAIN}


def _sizes(model: pb.ModelSpec) -> dict[str, Any]:
    """Those that are set; with `init` the others are the version's."""
    return {name: value for name, value in _stated(model).items() if name in SIZES}


def _tokenizer(spec: pb.TokenizerSpec, name: str) -> TokenizerSettings:
    return TokenizerSettings(
        kind=spec.kind,
        vocab_size=spec.vocab_size,
        lowercase=spec.lowercase,
        special=family(name).special,
        starts=family(name).starts,
    )


def _task(spec: pb.TaskSpec) -> TaskSettings:
    """What is not set means nothing for the task, or follows from the version started from."""
    return TaskSettings(**{**_stated(spec), "labels": tuple(spec.labels)})


def _tuning(spec: pb.TuningSpec) -> Tuning:
    lora = spec.lora
    adapters = LoRAConfig(rank=lora.rank, alpha=lora.alpha, targets=tuple(lora.targets))
    return Tuning(
        freeze=tuple(spec.freeze),
        freeze_steps=spec.freeze_steps,
        lora=adapters if spec.method == "lora" else None,
        merge=lora.merge,
    )


def _secret(spec: pb.SecretSpec) -> SecretSource:
    if spec.env:
        return SecretSource(kind="env", name=spec.env)
    mounted = f"{spec.kubernetes.name}/{spec.kubernetes.key}"
    return SecretSource(kind="file", name=spec.file or mounted)


def _stated(message: Message) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}
