"""What a run does, every default filled in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera.data.settings import DataSettings
from tessera.trainer.data.settings import TokenizerSettings
from tessera.trainer.failure import UserError
from tessera.trainer.step.schedule import Schedule
from tessera.trainer.tasks.settings import TaskSettings
from tessera.trainer.tuning import Tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The resolved spec as the trainer reads it.

    Args:
        data: where it is and how to read it.
        sizes: of the model, those of `tessera.models.registry.SIZES` that the spec states.
        init: `set@version` or `set` to start from; empty: random weights.
        init_encoder: the same for the encoder alone.
        init_decoder: the same for the decoder alone.
        tokenizer: how one is learned.
        tokenizer_path: URL of a tokenizer.json; empty: one is learned.
        task: what the model learns to do.
        tuning: which weights learn.
        batch_size: sequences of one step over all ranks.
        sequence_length: tokens of a sequence; 0: the model's context.
        accelerator: type, empty: none.
        entrypoint: `module:function`; empty: none.
        code: URL of the code that it lives in.
        spec_json: the spec in proto3 JSON form.

    Raises:
        UserError: BATCH_NOT_DIVISIBLE.
    """

    name: str
    family: str
    data: DataSettings
    sizes: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    init: str = ""
    init_encoder: str = ""
    init_decoder: str = ""
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    tokenizer_path: str = ""
    task: TaskSettings = field(default_factory=TaskSettings)
    tuning: Tuning = field(default_factory=Tuning)
    steps: int = 1000
    batch_size: int = 8
    sequence_length: int = 0
    grad_accumulation: int = 1
    lr: float = 1e-3
    min_lr: float = 1e-4
    warmup_steps: int = 50
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    precision: str = "auto"
    seed: int = 0
    eval_every: int = 100
    eval_batches: int = 20
    log_every: int = 10
    strategy: str = "fsdp"
    publish_set: str = ""
    publish_every: int = 200
    publish_keep: int = 3
    workers: int = 1
    cpus_per_worker: float = 1.0
    accelerator: str = ""
    accelerators_per_worker: float = 0.0
    entrypoint: str = ""
    code: str = ""
    spec_json: bytes = b"{}"

    def __post_init__(self) -> None:
        parts = self.workers * self.grad_accumulation
        if self.batch_size % parts:
            description = (
                f"a batch of {self.batch_size} sequences does not divide over {self.workers} "
                f"workers x {self.grad_accumulation} micro-batches; take a multiple of {parts}"
            )
            raise UserError.at("train.batch_size", description, "BATCH_NOT_DIVISIBLE")

    @property
    def schedule(self) -> Schedule:
        """The learning rate over the run."""
        return Schedule(steps=self.steps, warmup=self.warmup_steps, peak=self.lr, floor=self.min_lr)

    def publishes_at(self, step: int) -> bool:
        """Whether a version is due after so many steps."""
        return step == self.steps or bool(self.publish_every and step % self.publish_every == 0)

    def evaluates_at(self, step: int) -> bool:
        """Whether an evaluation is due after so many steps."""
        return step == self.steps or bool(self.eval_every and step % self.eval_every == 0)

    def logs_at(self, step: int) -> bool:
        """Whether metrics are due after so many steps."""
        return step == self.steps or step % self.log_every == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptContext:
    """How a rank reaches the platform.

    Args:
        controller: host:port.
        driver: host:port of the attempt's control server.
        token: of the attempt.
    """

    job: str
    attempt: int
    tenant: str
    controller: str
    driver: str
    token: str = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the attempt's run."""
        return f"{self.job}-{self.attempt}"
