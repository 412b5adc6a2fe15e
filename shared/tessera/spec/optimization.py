"""Defaults of the optimization: by where a run starts, what it learns and how wide the model is.

Every number has its source in docs/models.md, under "Defaults of training".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from tessera.api.controller.v1.spec_pb2 import JobSpec, TrainSpec
from tessera.models.family import Family
from tessera.models.tasks import TASKS, kind_of
from tessera.spec.fill import Value, fill

MAX_BATCH = 1 << 20
"""The largest batch that the .proto allows."""

STEPS, EPOCHS, MIN_STEPS = 1000, 3.0, 500
"""Length of a run from random weights, and of one that starts from a version, with its least."""

USUAL_WIDTH = 768
"""Of a version whose width nobody has told: that of BERT base and of the smallest GPT-2."""

_ANY = 1 << 31

_PRE_NORM = (
    (512, 1e-3),
    (768, 6e-4),
    (1024, 3e-4),
    (1536, 2.5e-4),
    (2048, 2e-4),
    (2560, 1.6e-4),
    (4096, 1.2e-4),
    (5140, 1e-4),
    (_ANY, 6e-5),
)
_POST_NORM = ((256, 1e-3), (512, 5e-4), (_ANY, 1e-4))
_TUNED = ((128, 1e-3), (256, 3e-4), (512, 1e-4), (1536, 5e-5), (_ANY, 2e-5))
_TUNED_ENCODER = ((128, 1e-3), (256, 3e-4), (512, 1e-4), (_ANY, 2e-5))
_ADAPTERS = ((256, 1e-3), (512, 5e-4), (5140, 2e-4), (_ANY, 1e-4))
_NEW_HEADS = ((_ANY, 1e-3),)
"""Peak learning rates: (largest width, rate), the first that fits."""


def is_supervised(kind: str) -> bool:
    """Whether the data of a kind of task has labels, targets or answers."""
    return "text" not in TASKS[kind].formats


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the defaults of a run follow from.

    Args:
        tuned: whether it starts from a version.
        supervised: whether its data has labels, targets or answers.
        writes: whether the model writes text.
        encodes: whether it has an encoder.
        post_norm: whether norms stand after the sums.
        method: of the tuning.
        heads_only: whether nothing but new heads learns.
        width: of the model.
    """

    tuned: bool
    supervised: bool
    writes: bool
    encodes: bool
    post_norm: bool
    method: str
    heads_only: bool
    width: int

    @classmethod
    def of(cls, spec: JobSpec, known: Family, width: int = 0) -> Start:
        """The start of a spec whose model is filled in.

        Args:
            spec: the spec.
            known: its family.
            width: of the version that it starts from; 0: nobody has told.

        Raises:
            InvalidArgumentError: TASK_NOT_FOR_FAMILY.
        """
        model, tuning = spec.model, spec.tuning
        task = known.task(spec.task.kind)
        orders = {
            str((stack or {}).get("norm_order", "")) for stack in (known.encoder, known.decoder)
        }
        frozen = list(tuning.freeze) or ["trunk"]
        return cls(
            tuned=model.HasField("init"),
            supervised=is_supervised(task.kind),
            writes=kind_of(task).writes,
            encodes=known.encoder is not None,
            post_norm="post" in ({model.norm_order} if model.norm_order else orders),
            method=tuning.method or "full",
            heads_only=tuning.method == "frozen"
            and frozen == ["trunk"]
            and not tuning.freeze_steps,
            width=model.width or width or USUAL_WIDTH,
        )

    @property
    def dropout(self) -> float:
        """Probability for weights that begin at random."""
        return 0.1 if self.supervised else 0.0

    @property
    def rate(self) -> float:
        """Peak learning rate."""
        return next(rate for limit, rate in self._rates() if self.width <= limit)

    def _rates(self) -> tuple[tuple[int, float], ...]:
        if self.tuned and self.method == "lora":
            return _ADAPTERS
        if self.tuned and self.heads_only:
            return _NEW_HEADS
        if self.tuned:
            reads = self.supervised and self.encodes and not self.writes
            return _TUNED_ENCODER if reads else _TUNED
        return _POST_NORM if self.post_norm else _PRE_NORM

    def values(self) -> Mapping[str, Value]:
        """Fields of TrainSpec that depend on nothing else of it."""
        alone = not self.encodes and not self.tuned
        beta2 = 0.95 if alone else 0.98
        return {
            "lr": self.rate,
            "weight_decay": 0.1 if alone else 0.01,
            "beta1": 0.9,
            "beta2": 0.999 if self.tuned else beta2,
            "clip_norm": 1.0,
            "precision": "auto",
            "seed": 0,
            "grad_accumulation": 1,
            "eval_batches": 20,
            "log_every": 10,
        }

    @property
    def warmup(self) -> float:
        """Share of the steps that warm up."""
        return 0.1 if self.tuned or self.post_norm else 0.05


def fill_train(spec: JobSpec, start: Start) -> None:
    """Fill in how long, how fast and how often; of fields that say the same at most one.

    What is due after a share of the run is told in steps where these are known, else as that share.
    """
    train, publish = spec.train, spec.publish
    if not (train.HasField("steps") or train.HasField("epochs")):
        in_epochs = start.tuned or train.HasField("min_steps")
        length: dict[str, Value] = {"epochs": EPOCHS, "min_steps": MIN_STEPS}
        fill(train, length if in_epochs else {"steps": STEPS})
    fill(train, start.values())
    # As many whole micro-batches as make enough sequences.
    parts = max(1, spec.resources.workers * train.grad_accumulation)
    least = max(8 * spec.resources.workers, 16 if start.supervised else 0)
    size = min(MAX_BATCH, parts * -(-least // parts))
    fill(train, {"batch_size": size, "min_lr": 0.0 if start.tuned else train.lr / 10})
    if spec.model.HasField("context"):
        fill(train, {"sequence_length": spec.model.context})
    if not (train.HasField("warmup_steps") or train.HasField("warmup_ratio")):
        fill(train, {"warmup_ratio": start.warmup})
    _fill_every(train, "eval_every", train, 10)
    _fill_every(publish, "every", train, 5)
    fill(publish, {"set": spec.name, "keep": 3})


def _fill_every(message: Message, name: str, train: TrainSpec, parts: int) -> None:
    """One of so many parts of the run."""
    if any(message.HasField(each) for each in (name, f"{name}_epochs", f"{name}_ratio")):
        return
    if train.HasField("steps"):
        fill(message, {name: max(1, train.steps // parts)})
    else:
        fill(message, {f"{name}_ratio": 1 / parts})
