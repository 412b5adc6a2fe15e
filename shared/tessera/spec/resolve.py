"""The defaults of a spec, filled in once, at submit, so that a retry runs the same thing."""

from __future__ import annotations

import difflib

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec, TuningSpec
from tessera.data.settings import DELIMITED
from tessera.models.config import StackConfig
from tessera.models.family import Family
from tessera.models.lora_config import TARGETS
from tessera.models.registry import family
from tessera.models.sizes import Sizes
from tessera.models.tasks import kind_of
from tessera.spec.fill import Value, fill
from tessera.spec.formats import format_of
from tessera.spec.optimization import Start, fill_train

_SCHEDULING: dict[str, Value] = {
    "time_limit_seconds": 0,
    "start_deadline_seconds": 0,
    "stall_timeout_seconds": 0,
    "ttl_seconds": 0,
    "preemptible": True,
    "min_runtime_seconds": 0,
}


def resolve(spec: JobSpec, *, width: int = 0) -> JobSpec:
    """A copy of `spec` in which every default is filled in; what is set stays.

    Fields that mean nothing for the family or the task stay unset. With `model.init`, so do sizes
    that are not set and the tokenizer: they are those of the version. So does the format of files
    that are of several, which `check` refuses. Where a run is as long as so many epochs, its steps
    stay unset: they are counted when the data is prepared. Resolving twice changes nothing more.

    Args:
        spec: the spec.
        width: of the version that `model.init` names, which the learning rate follows; 0: nobody
            has looked, and it is taken for one of the usual width.

    Raises:
        InvalidArgumentError: UNKNOWN_FAMILY, UNKNOWN_PRESET or TASK_NOT_FOR_FAMILY.
    """
    done = JobSpec()
    done.CopyFrom(spec)
    known = family(done.model.family)
    fill(done, {"kind": "train", "queue": "default", "retries": 2})
    fill(done.resources, {"workers": 1, "cpus_per_worker": 1.0, "memory_per_worker": "1Gi"})
    fill(done.scheduling, _SCHEDULING)
    if done.resources.HasField("topology"):
        fill(done.resources.topology, {"required": True})
    if done.resources.HasField("accelerator"):
        fill(done.resources.accelerator, {"count": 1.0})
    fill(done.task, {"kind": known.default_task})
    _fill_tuning(done.tuning)
    _fill_model(done, known)
    if not done.tokenizer.path and not done.model.HasField("init"):
        kind = known.tokenizer
        fill(done.tokenizer, {"kind": kind, "vocab_size": 4096, "lowercase": False})
    _fill_data(done.data)
    fill_train(done, Start.of(done, known, width))
    _fill_task(done, known)
    fill(done.parallel, {"strategy": "fsdp"})
    return done


def rate_is_open(spec: JobSpec) -> bool:
    """Whether the learning rate follows from the width of the version that a spec starts from.

    Raises:
        InvalidArgumentError: as `resolve`.
    """
    narrow, wide = (resolve(spec, width=width) for width in (1, 1 << 30))
    return narrow.train.lr != wide.train.lr


def preset_sizes(model: ModelSpec, known: Family) -> Sizes:
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
    raise errors.InvalidArgumentError.at("model.preset", description, "UNKNOWN_PRESET")


def _fill_model(spec: JobSpec, known: Family) -> None:
    model = spec.model
    sizes = dict(preset_sizes(model, known))
    if model.positions not in {"", "rotary"}:
        sizes.pop("rotary_base", None)  # It is of the positions that are given up.
    fill(model, sizes)
    if model.HasField("init"):
        return  # What is still open is as in the version, which the trainer reads.
    fill(model, {"dropout": Start.of(spec, known).dropout})
    fill(model, {name: known.defaults[name] for name in ("layers", "heads", "width")})
    derived: dict[str, Value] = {
        "ff_width": 4 * model.width,
        "kv_heads": model.heads,
        "bias": StackConfig().bias,
    }
    if model.positions == "rotary":
        derived["rotary_base"] = StackConfig().rotary_base
    fill(model, {**known.defaults, **derived})
    if known.encoder is not None and known.decoder is not None:
        shared = known.share_embeddings
        fill(model, {"decoder_layers": model.layers, "share_embeddings": shared})


def _fill_data(data: DataSpec) -> None:
    fill(data, {"format": format_of(data)})
    if data.format in DELIMITED:
        fill(data, {"header": True})
    if data.format == "csv":
        fill(data, {"delimiter": ","})
    if not data.validation_files:
        fill(data, {"held_out": 0.05})


def _fill_task(spec: JobSpec, known: Family) -> None:
    task, train = spec.task, spec.train
    plain = known.task(task.kind)
    values: dict[str, Value] = {
        "multi_label": False,
        "mask_probability": 0.15,
        "packing": True,
        "masked_weight": 1.0,
        "next_weight": 1.0,
    }
    if not spec.model.HasField("init"):
        values["pooling"] = plain.pooling
    if not task.multi_label:
        values["label_smoothing"] = 0.0
    if train.HasField("sequence_length"):
        values["stride"] = train.sequence_length // 4
    values.update({k: v for k, v in kind_of(plain).defaults.items() if k in values})
    fill(task, {name: value for name, value in values.items() if name in kind_of(plain).fields})


def _fill_tuning(tuning: TuningSpec) -> None:
    fill(tuning, {"method": "full"})
    if tuning.method == "frozen":
        fill(tuning, {"freeze": ["trunk"]})
    if tuning.freeze:
        fill(tuning, {"freeze_steps": 0})
    if tuning.method == "lora":
        fill(tuning.lora, {"rank": 8, "targets": TARGETS, "merge": False})
        fill(tuning.lora, {"alpha": 2.0 * tuning.lora.rank})
