"""Puts a rank together and runs it: data, model, optimizer, versions, loop. Knows no Ray."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
import torch

from tessera.device import Device
from tessera.models.config import GPTConfig
from tessera.models.registry import family
from tessera.text.tokenizer import Tokenizer
from tessera.trainer import corpus as corpora
from tessera.trainer import digests, entrypoint, layout, resume
from tessera.trainer.batch import Objective, next_token
from tessera.trainer.commands import Commands
from tessera.trainer.gang import Gang
from tessera.trainer.loop import Loop, Outcome
from tessera.trainer.origin import Origin, Store, find_origin
from tessera.trainer.parallel import Parallel, make_optimizer
from tessera.trainer.position import Position
from tessera.trainer.publish import Publisher
from tessera.trainer.randomness import seed_all
from tessera.trainer.reporter import Progress, Reporter
from tessera.trainer.settings import Settings
from tessera.trainer.sources import ReadBlob, read_one
from tessera.trainer.step import Stepper
from tessera.trainer.text_dataset import TextDataset
from tessera.weights.manifest import Manifest

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a run works on: sizes, tokenizer, text, and what the user put in its place."""

    config: GPTConfig
    tokenizer: Tokenizer
    text: TextDataset
    override: entrypoint.Override


@dataclass(frozen=True, slots=True, kw_only=True)
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

    def execute(self) -> Outcome:
        """Everything from fetching the data to the last commit."""
        return self.prepare().run()

    def prepare(self) -> Loop:
        """Everything before the first step."""
        progress = Progress(step=0, total_steps=self.settings.steps, phase="preparing")
        self.on_progress(progress)
        if self.gang.leads:
            self.reporter.progress(progress)
        origin = find_origin(self.store, self.settings, self.gang)
        return self._loop(self._material(origin), origin)

    def _material(self, origin: Origin) -> Material:
        settings = self.settings
        given = origin.tokenizer(settings)
        if given is None and settings.tokenizer_path and self.gang.leads:
            given = read_one(settings.tokenizer_path, self.read_blob)
        corpus, tokenizer = corpora.prepare(settings, self.gang, self.read_blob, given)
        config = origin.config(settings, tokenizer.vocab_size)
        length = settings.sequence_length or config.context
        corpora.check_length(corpus, length)
        text = TextDataset(corpus=corpus, length=length, seed=settings.seed)
        override = self._override(tokenizer, text)
        return Material(config=config, tokenizer=tokenizer, text=text, override=override)

    def _override(self, tokenizer: Tokenizer, text: TextDataset) -> entrypoint.Override:
        settings = self.settings
        if not settings.entrypoint:
            return entrypoint.Override()
        entrypoint.install(settings.code, self.read_blob)
        context = entrypoint.Context(
            spec=json.loads(settings.spec_json),
            rank=self.gang.rank,
            world_size=self.gang.world_size,
            seed=settings.seed,
            tokenizer=tokenizer,
            dataset=text,
        )
        return entrypoint.call(settings.entrypoint, context)

    def _loop(self, material: Material, origin: Origin) -> Loop:
        settings, own = self.settings, material.override
        seed_all(settings.seed)
        module = family(settings.family).build(material.config)
        parallel = Parallel(module, settings.strategy, self.device, self.gang)
        optimizer = make_optimizer(parallel.module, settings)
        # From here on every rank draws differently: dropout must not repeat itself over the ranks.
        seed_all(settings.seed * 1_000_003 + 1 + self.gang.rank)
        baseline = self._baseline(material) if own.dataset is None else None
        return Loop(
            settings=settings,
            gang=self.gang,
            stepper=self._stepper(parallel, optimizer, own.loss or next_token),
            dataset=own.dataset or material.text,
            reporter=self.reporter,
            commands=self.commands,
            publisher=self._publisher(parallel, optimizer, material, origin),
            # Last, for it puts back the random states that everything above may have drawn from.
            position=self._load(parallel.module, optimizer, material, origin),
            version=origin.version,
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

    def _load(
        self,
        module: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        material: Material,
        origin: Origin,
    ) -> Position:
        data = material.text.corpus.digest
        fresh = Position(seed=self.settings.seed, world_size=self.gang.world_size, data=data)
        if self.store is None or origin.manifest is None:
            return fresh
        token = self.store.token
        if not origin.resumed:
            resume.load_tensors(origin.manifest, module, None, token)
            return fresh
        resume.load_tensors(origin.manifest, module, optimizer, token)
        saved = resume.load_state(origin.manifest, self.gang, self.device, token)
        if saved.data != data:
            log.warning("the data has changed since the version was committed", step=saved.step)
        self._tell_resume(origin.manifest, layout.layout(module, optimizer), saved.step)
        return replace(fresh, step=saved.step, samples=saved.samples, epoch=saved.epoch)

    def _tell_resume(self, manifest: Manifest, placed: Sequence[layout.Placed], step: int) -> None:
        states = [item for item in placed if item.spec.group == layout.OPTIMIZER]
        boxes = digests.stored_boxes(manifest, layout.OPTIMIZER)
        found = digests.live_in(self.gang, states, boxes)
        if self.gang.leads:
            number = manifest.version.number
            message = f"resumed from version {number} at step {step}"
            facts = {"version": number, "step": step, "digests": found}
            self.reporter.event("resume", message, facts)

    def _publisher(
        self,
        parallel: Parallel,
        optimizer: torch.optim.Optimizer,
        material: Material,
        origin: Origin,
    ) -> Publisher | None:
        if self.store is None or origin.grant is None:
            return None
        return Publisher(
            gang=self.gang,
            device=self.device,
            module=parallel.module,
            optimizer=optimizer,
            coordinator=self.store.coordinator,
            token=self.store.token,
            set=origin.grant.set,
            epoch=origin.grant.epoch,
            assets={
                "config.json": material.config.to_json().encode(),
                "tokenizer.json": material.tokenizer.to_json(),
                "job.json": self.settings.spec_json,
            },
        )

    def _baseline(self, material: Material) -> float | None:
        if not self.gang.leads:
            return None
        sequences = self.settings.eval_batches * self.settings.batch_size
        loss = material.text.baseline(sequences, material.config.vocab_size)
        self.reporter.event(
            "baseline",
            f"a token-bigram model has a held-out loss of {loss:.4f} nats per token",
            {"baseline_loss": loss},
        )
        return loss
