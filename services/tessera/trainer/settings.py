"""What a run does, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera.data.settings import DataSettings
from tessera.rpc.tls.names import attempt_name
from tessera.rpc.token import Token
from tessera.trainer.data.settings import TokenizerSettings
from tessera.trainer.failure import UserError
from tessera.trainer.secrets import SecretSource
from tessera.trainer.task_settings import TaskSettings
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
        steps: of the run; 0: `epochs` say how long it is.
        epochs: of the run; 0: `steps` do.
        min_steps: of a run that epochs measure.
        batch_size: sequences of one step over all ranks.
        sequence_length: tokens of a sequence; 0: the model's context.
        warmup_steps: 0: `warmup_ratio` says it.
        warmup_ratio: share of the steps; 0: `warmup_steps` says it.
        eval_every: steps between evaluations; 0: as the next two say, or only at the end.
        eval_every_epochs: epochs between them; 0: it is told otherwise.
        eval_every_ratio: share of the run between them; 0: it is told otherwise.
        eval_batches: of an evaluation before the last one; 0: all that is held out.
        publish_every: steps between versions; the three as for evaluations.
        accelerator: type, empty: none.
        entrypoint: `module:function`; empty: none.
        code: URL of the code that it lives in.
        secrets: where the pool keeps what variables of the ranks hold, by variable.
        spec_json: the spec in proto3 JSON form.

    Raises:
        UserError: BATCH_NOT_DIVISIBLE.
    """

    name: str
    family: str
    data: DataSettings
    sizes: Mapping[str, int | float | bool | str]
    init: str
    init_encoder: str
    init_decoder: str
    tokenizer: TokenizerSettings
    tokenizer_path: str
    task: TaskSettings
    tuning: Tuning
    steps: int
    epochs: float
    min_steps: int
    batch_size: int
    sequence_length: int
    grad_accumulation: int
    lr: float
    min_lr: float
    warmup_steps: int
    warmup_ratio: float
    weight_decay: float
    beta1: float
    beta2: float
    clip_norm: float
    precision: str
    seed: int
    eval_every: int
    eval_every_epochs: float
    eval_every_ratio: float
    eval_batches: int
    log_every: int
    strategy: str
    publish_set: str
    publish_every: int
    publish_every_epochs: float
    publish_every_ratio: float
    publish_keep: int
    workers: int
    cpus_per_worker: float
    memory_per_worker: int
    accelerator: str
    accelerators_per_worker: float
    entrypoint: str
    code: str
    secrets: Mapping[str, SecretSource]
    spec_json: bytes

    def __post_init__(self) -> None:
        parts = self.workers * self.grad_accumulation
        if self.batch_size % parts:
            description = (
                f"a batch of {self.batch_size} sequences does not divide over {self.workers} "
                f"workers x {self.grad_accumulation} micro-batches; take a multiple of {parts}"
            )
            raise UserError.at("train.batch_size", description, "BATCH_NOT_DIVISIBLE")


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
    token: Token = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the attempt's run."""
        return f"{self.job}-{self.attempt}"

    @property
    def server_name(self) -> str:
        """What the attempt's control server must prove to be, where that is encrypted."""
        return attempt_name(self.tenant, self.job, self.attempt)
