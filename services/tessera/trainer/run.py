"""Puts a rank together and runs it: data, model, optimizer, versions, loop. Knows no Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
import torch

from tessera import errors
from tessera.device import Device
from tessera.models.config import GPTConfig
from tessera.models.registry import family
from tessera.text.tokenizer import Tokenizer
from tessera.trainer import corpus as corpora
from tessera.trainer import entrypoint, resume
from tessera.trainer.batch import Dataset, Objective, next_token
from tessera.trainer.commands import Commands
from tessera.trainer.failure import UserError
from tessera.trainer.gang import Gang
from tessera.trainer.loop import Loop, Outcome
from tessera.trainer.parallel import Parallel, make_optimizer
from tessera.trainer.position import Position
from tessera.trainer.publish import Publisher
from tessera.trainer.randomness import seed_all
from tessera.trainer.reporter import Progress, Reporter
from tessera.trainer.settings import Settings
from tessera.trainer.sources import ReadBlob, read_one
from tessera.trainer.step import Stepper
from tessera.trainer.text_dataset import TextDataset
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import Grant, Manifest

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where versions come from and go to.

    Args:
        coordinator: of the parameter service.
        token: for the bulk data.
        tenant: that the sets belong to.
        job: that writes.
        attempt: of the job.
    """

    coordinator: Coordinator
    token: str
    tenant: str
    job: str
    attempt: int


@dataclass(slots=True, kw_only=True)
class Run:
    """One rank of a run.

    Args:
        store: None: nothing is loaded and nothing is committed.
        read_blob: reads uploads.
        on_progress: told where the run is, often.
    """

    settings: Settings
    gang: Gang
    device: Device
    reporter: Reporter
    commands: Commands
    store: Store | None
    read_blob: ReadBlob
    on_progress: Callable[[Progress], None] = lambda _: None
    _code: entrypoint.Code = field(init=False)

    def __post_init__(self) -> None:
        self._code = entrypoint.Code(self.read_blob)

    def execute(self) -> Outcome:
        """Everything from fetching the data to the last commit."""
        self._preparing()
        grant = self.gang.led(self._acquire) if self.store is not None else None
        start = self._start_from(grant)
        resumed = grant is not None and grant.resume is not None
        given = start.assets["tokenizer.json"] if start is not None else self._given_tokenizer()
        if start is not None and not resumed and self.settings.tokenizer_path:
            given = self._given_tokenizer()
        corpus, tokenizer = corpora.prepare(self.settings, self.gang, self.read_blob, given)
        config = self._config(tokenizer, start)
        dataset = self._text_dataset(corpus, config)
        override = self._override(tokenizer, dataset)
        loop = self._loop(config, tokenizer, dataset, override, grant, start)
        return loop.run()

    def _preparing(self) -> None:
        progress = Progress(step=0, total_steps=self.settings.steps, phase="preparing")
        self.on_progress(progress)
        if self.gang.leads:
            self.reporter.progress(progress)

    def _acquire(self) -> Grant:
        assert self.store is not None
        name = f"{self.store.tenant}/{self.settings.publish_set}"
        return self.store.coordinator.acquire_writer(
            name, self.store.job, self.store.attempt, self.settings.publish_keep
        )

    def _start_from(self, grant: Grant | None) -> Manifest | None:
        """The version to begin with: this job's own, else the one that the spec names."""
        if self.store is None:
            return None
        if grant is not None and grant.resume is not None:
            name, number = grant.set, grant.resume.number
            return self.store.coordinator.get_manifest(name, number)
        if not self.settings.init:
            return None
        manifest = self.gang.led(self._resolve_init)
        return manifest

    def _resolve_init(self) -> Manifest:
        assert self.store is not None
        name, _, number = self.settings.init.partition("@")
        try:
            return self.store.coordinator.get_manifest(
                f"{self.store.tenant}/{name}", int(number or 0), ["model"]
            )
        except (errors.NotFoundError, errors.InvalidArgumentError, ValueError) as error:
            raise UserError(
                f"model.init.from: {error}",
                reason="INIT_NOT_FOUND",
                violations=[errors.Violation("model.init.from", str(error))],
            ) from None

    def _given_tokenizer(self) -> bytes | None:
        if not self.settings.tokenizer_path or not self.gang.leads:
            return None
        return read_one(self.settings.tokenizer_path, self.read_blob)

    def _config(self, tokenizer: Tokenizer, start: Manifest | None) -> GPTConfig:
        sizes = dict(self.settings.sizes)
        if start is not None:
            theirs = json.loads(resume.config_of(start).to_json())
            free = {"dropout"} if "dropout" in sizes else set()
            sizes = {**{k: v for k, v in theirs.items() if k not in free}, **sizes}
        sizes["vocab_size"] = tokenizer.vocab_size
        sizes.pop("family", None)
        config = family(self.settings.family).config(**sizes)  # type: ignore[arg-type]
        if start is not None:
            resume.check_warm_start(config, start)
        length = self.settings.sequence_length
        if length > config.context:
            description = f"{length} tokens do not fit a context of {config.context}"
            raise UserError(
                f"train.sequence_length: {description}",
                reason="SEQUENCE_TOO_LONG",
                violations=[errors.Violation("train.sequence_length", description)],
            )
        return config

    def _text_dataset(self, corpus: corpora.Corpus, config: GPTConfig) -> TextDataset:
        length = self.settings.sequence_length or config.context
        corpora.check_length(corpus, length)
        return TextDataset(corpus=corpus, length=length, seed=self.settings.seed)

    def _override(self, tokenizer: Tokenizer, dataset: TextDataset) -> entrypoint.Override:
        if not self.settings.entrypoint:
            return entrypoint.Override()
        self._code.install(self.settings.code)
        context = entrypoint.Context(
            spec=json.loads(self.settings.spec_json),
            rank=self.gang.rank,
            world_size=self.gang.world_size,
            seed=self.settings.seed,
            tokenizer=tokenizer,
            dataset=dataset,
        )
        return entrypoint.call(self.settings.entrypoint, context)

    def _loop(
        self,
        config: GPTConfig,
        tokenizer: Tokenizer,
        text: TextDataset,
        override: entrypoint.Override,
        grant: Grant | None,
        start: Manifest | None,
    ) -> Loop:
        settings = self.settings
        seed_all(settings.seed)
        module = family(settings.family).build(config)
        parallel = Parallel(module, settings.strategy, self.device, self.gang)
        optimizer = make_optimizer(parallel.module, settings)
        # From here on every rank draws differently: dropout must not repeat itself over the ranks.
        seed_all(settings.seed * 1_000_003 + 1 + self.gang.rank)
        dataset: Dataset = override.dataset or text
        baseline = self._baseline(text, config) if override.dataset is None else None
        position = self._position(parallel.module, optimizer, text, grant, start)
        objective: Objective = override.loss or next_token
        return Loop(
            settings=settings,
            gang=self.gang,
            stepper=self._stepper(parallel, optimizer, objective),
            dataset=dataset,
            reporter=self.reporter,
            commands=self.commands,
            publisher=self._publisher(parallel, optimizer, config, tokenizer, grant),
            position=position,
            version=_version_of(grant),
            baseline=baseline,
            on_progress=self.on_progress,
        )

    def _stepper(
        self, parallel: Parallel, optimizer: torch.optim.Optimizer, objective: Objective
    ) -> Stepper:
        precision = self.settings.precision
        return Stepper(
            parallel=parallel,
            optimizer=optimizer,
            objective=objective,
            device=self.device,
            world_size=self.gang.world_size,
            clip_norm=self.settings.clip_norm,
            bf16=precision == "bf16" or (precision == "auto" and self.device.native_bf16),
        )

    def _position(
        self,
        module: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        text: TextDataset,
        grant: Grant | None,
        start: Manifest | None,
    ) -> Position:
        fresh = Position(
            seed=self.settings.seed, world_size=self.gang.world_size, data=text.corpus.digest
        )
        if self.store is None or start is None:
            return fresh
        if grant is None or grant.resume is None:
            resume.load_tensors(start, module, None, self.store.token)
            return fresh
        resume.load_tensors(start, module, optimizer, self.store.token)
        saved = resume.load_state(start, self.gang, self.device, self.store.token)
        if saved.data != text.corpus.digest:
            log.warning("the data has changed since the version was committed", step=saved.step)
        if self.gang.leads:
            facts = {"version": grant.resume.number, "step": saved.step}
            message = f"resumed from version {grant.resume.number} at step {saved.step}"
            self.reporter.event("resume", message, facts)
        return replace(fresh, step=saved.step, samples=saved.samples, epoch=saved.epoch)

    def _publisher(
        self,
        parallel: Parallel,
        optimizer: torch.optim.Optimizer,
        config: GPTConfig,
        tokenizer: Tokenizer,
        grant: Grant | None,
    ) -> Publisher | None:
        if self.store is None or grant is None:
            return None
        return Publisher(
            gang=self.gang,
            device=self.device,
            module=parallel.module,
            optimizer=optimizer,
            coordinator=self.store.coordinator,
            token=self.store.token,
            set=grant.set,
            epoch=grant.epoch,
            assets={
                "config.json": config.to_json().encode(),
                "tokenizer.json": tokenizer.to_json(),
                "job.json": self.settings.spec_json,
            },
        )

    def _baseline(self, text: TextDataset, config: GPTConfig) -> float | None:
        if not self.gang.leads:
            return None
        sequences = self.settings.eval_batches * self.settings.batch_size
        loss = text.baseline(sequences, config.vocab_size)
        self.reporter.event(
            "baseline",
            f"a token-bigram model has a held-out loss of {loss:.4f} nats per token",
            {"baseline_loss": loss},
        )
        return loss


def _version_of(grant: Grant | None) -> tuple[int, int]:
    if grant is None or grant.resume is None:
        return 0, 0
    return grant.resume.number, grant.resume.step
