"""Puts a rank together and runs it: data, model, optimizer, versions, loop. Knows no Ray."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
import torch
from torch import nn

from tessera.device import Device
from tessera.models.huggingface import kept
from tessera.models.registry import build
from tessera.text.file import TokenizerFile
from tessera.text.tokenizer import Tokenizer
from tessera.trainer import entrypoint
from tessera.trainer.batch import Dataset
from tessera.trainer.control.commands import CommandQueue
from tessera.trainer.control.reporter import Reporter
from tessera.trainer.data.sources import ReadBlob, read_one
from tessera.trainer.loop import Loop, Outcome
from tessera.trainer.position import Position
from tessera.trainer.ranks import Ranks
from tessera.trainer.run_plan import RunPlan
from tessera.trainer.run_progress import RunProgress
from tessera.trainer.settings import Settings
from tessera.trainer.step import learning
from tessera.trainer.step.objective import Objective
from tessera.trainer.step.parallel import Parallel, make_optimizer
from tessera.trainer.step.step import Stepper
from tessera.trainer.tasks.registry import make_task
from tessera.trainer.tasks.task import TaskContext, TaskData
from tessera.trainer.timeline import Timeline
from tessera.trainer.versions import digests, layout, resume, sizing, warm_start
from tessera.trainer.versions.publish import Publisher
from tessera.trainer.versions.randomness import seed_all
from tessera.trainer.versions.starting_point import (
    ParameterStore,
    StartingPoint,
    find_starting_point,
)
from tessera.weights.manifest import Manifest

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One rank of a run.

    Args:
        store: None: nothing is loaded and nothing is committed.
        read_blob: reads uploads.
        on_progress: told where the run is, often.
    """

    settings: Settings
    ranks: Ranks
    device: Device
    reporter: Reporter
    commands: CommandQueue
    store: ParameterStore | None
    read_blob: ReadBlob
    on_progress: Callable[[RunProgress], None] = lambda _: None

    def execute(self) -> Outcome:
        """Everything from fetching the data to the last commit."""
        self._tell("preparing", self.settings.steps)
        start = find_starting_point(self.store, self.settings, self.ranks)
        if self.settings.steps and _is_done(start, self.settings.steps):
            return self._conclude(start, self.settings.steps)
        plan = self._plan(start)
        timeline = self._timeline(plan.dataset)
        if _is_done(start, timeline.steps):
            return self._conclude(start, timeline.steps)
        return self._loop(plan, timeline, start).run()

    def _timeline(self, dataset: Dataset) -> Timeline:
        """What is due when, on the examples that rank 0 counts."""
        examples, held_out = self.ranks.on_main(
            lambda: (dataset.examples(), len(dataset.held_out(0)))
        )
        timeline = Timeline.of(self.settings, examples=examples, held_out=held_out)
        if self.ranks.is_main:
            details = {
                "examples": timeline.examples,
                "held_out_examples": timeline.held_out,
                "steps_per_epoch": timeline.steps_per_epoch,
                "steps": timeline.steps,
                "epochs": timeline.epochs(timeline.steps * timeline.batch_size),
            }
            self.reporter.event("data", timeline.describe(), details)
            log.info("the examples are counted", **details)
        return timeline

    def _conclude(self, start: StartingPoint, steps: int) -> Outcome:
        """End a run whose last version was committed by an attempt that could not say so."""
        own = start.own
        assert self.store is not None
        assert own is not None
        version = own.manifest.version
        module = Parallel(build(own.config), self.settings.strategy, self.device, self.ranks).module
        resume.load_tensors(own.manifest, module, None, self.store.token)
        placed = layout.layout(module)
        digests.tell_digests(self.reporter, self.ranks, placed, (version.number, version.step))
        self._tell("finished", steps, step=version.step, version=version.number)
        return Outcome(finished=True, version=version.number)

    def _tell(self, phase: str, steps: int, step: int = 0, version: int = 0) -> None:
        progress = RunProgress(
            step=step,
            total_steps=steps,
            phase=phase,
            version=version,
            version_step=step if version else 0,
        )
        self.on_progress(progress)
        if self.ranks.is_main:
            self.reporter.progress(progress)

    def _plan(self, start: StartingPoint) -> RunPlan:
        settings = self.settings
        drafted = sizing.draft(settings, start)
        given = start.tokenizer(settings)
        if given is None and settings.tokenizer_path and self.ranks.is_main:
            given = TokenizerFile(content=read_one(settings.tokenizer_path, self.read_blob))
        task = make_task(settings)
        data = task.data(
            TaskContext(
                settings=settings,
                ranks=self.ranks,
                read_blob=self.read_blob,
                tokenizer=given,
                labels=start.labels(settings),
                model_context=drafted.context,
                first_id=start.first_id(settings),
            )
        )
        config = sizing.complete(drafted, settings, start, data.task, data.tokenizer)
        override = self._override(data)
        return RunPlan(task=task, data=data, config=config, override=override)

    def _override(self, data: TaskData) -> entrypoint.Override:
        settings = self.settings
        if not settings.entrypoint:
            return entrypoint.Override()
        entrypoint.install(settings.code, self.read_blob)
        context = entrypoint.Context(
            spec=json.loads(settings.spec_json),
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
            seed=settings.seed,
            tokenizer=data.tokenizer,
            dataset=data.dataset,
        )
        return entrypoint.call(settings.entrypoint, context)

    def _loop(self, plan: RunPlan, timeline: Timeline, start: StartingPoint) -> Loop:
        settings, override = self.settings, plan.override
        seed_all(settings.seed)
        module = build(plan.config)
        learning.freeze(module, settings.tuning)
        # What a loss of the user's leaves out is not known before.
        sparing = override.loss is not None
        parallel = Parallel(module, settings.strategy, self.device, self.ranks, sparing=sparing)
        optimizer = make_optimizer(parallel.module, settings)
        # From here on every rank draws differently: dropout must not repeat itself over the ranks.
        seed_all(settings.seed * 1_000_003 + 1 + self.ranks.rank)
        baseline = self._baseline(plan) if override.dataset is None else None
        return Loop(
            settings=settings,
            timeline=timeline,
            ranks=self.ranks,
            stepper=self._stepper(parallel, optimizer, plan.objective),
            dataset=plan.dataset,
            reporter=self.reporter,
            commands=self.commands,
            publisher=self._publisher(parallel, optimizer, plan, start),
            # Last, for it puts back the random states that everything above may have drawn from.
            position=self._load(parallel.module, optimizer, plan.data, start),
            version=start.version,
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
            world_size=self.ranks.world_size,
            clip_norm=self.settings.clip_norm,
            bf16=precision == "bf16" or (precision == "auto" and self.device.native_bf16),
            frozen_at_start=learning.frozen_at_start(parallel.module, self.settings.tuning),
        )

    def _load(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: TaskData,
        start: StartingPoint,
    ) -> Position:
        digest = data.digest
        fresh = Position(seed=self.settings.seed, world_size=self.ranks.world_size, data=digest)
        if self.store is None:
            return fresh
        token = self.store.token
        if start.own is None:
            if start.sources:
                labels = data.task.labels
                taken = warm_start.take(module, start.sources, labels, token)
                self._tell_init(start, taken)
            return fresh
        manifest = start.own.manifest
        resume.load_tensors(manifest, module, optimizer, token)
        saved = resume.load_state(manifest, self.ranks, self.device, token)
        if saved.data != digest:
            log.warning("the data has changed since the version was committed", step=saved.step)
        self._tell_resume(manifest, layout.layout(module, optimizer), saved.step)
        return replace(fresh, step=saved.step, samples=saved.samples, epoch=saved.epoch)

    def _tell_init(self, start: StartingPoint, taken: warm_start.Taken) -> None:
        if self.ranks.is_main:
            facts = {source.part: str(source) for source in start.sources}
            details = {**facts, "taken": sum(taken.numbers), "fresh": list(taken.fresh)}
            self.reporter.event("init", taken.describe(start.sources), details)

    def _tell_resume(
        self, manifest: Manifest, placed: Sequence[layout.LocalTensor], step: int
    ) -> None:
        states = [item for item in placed if item.spec.group == layout.OPTIMIZER]
        boxes = digests.stored_boxes(manifest, layout.OPTIMIZER)
        found = digests.live_in(self.ranks, states, boxes)
        if self.ranks.is_main:
            number = manifest.version.number
            message = f"resumed from version {number} at step {step}"
            facts = {"version": number, "step": step, "digests": found}
            self.reporter.event("resume", message, facts)

    def _publisher(
        self,
        parallel: Parallel,
        optimizer: torch.optim.Optimizer,
        plan: RunPlan,
        start: StartingPoint,
    ) -> Publisher | None:
        if self.store is None or start.grant is None:
            return None
        return Publisher(
            ranks=self.ranks,
            device=self.device,
            module=parallel.module,
            optimizer=optimizer,
            coordinator=self.store.coordinator,
            token=self.store.token,
            set=start.grant.set,
            epoch=start.grant.epoch,
            config=plan.config,
            assets={
                **self._tokenizer(plan.data.tokenizer, start),
                "job.json": self.settings.spec_json,
            },
        )

    def _tokenizer(self, tokenizer: Tokenizer, start: StartingPoint) -> dict[str, bytes]:
        """The tokenizer's assets: those of the version that it came with, where there is one."""
        speaker = start.speaker(self.settings)
        if speaker is None:
            return {"tokenizer.json": tokenizer.to_json()}
        return kept.carried(speaker.manifest.assets)

    def _baseline(self, plan: RunPlan) -> float | None:
        if not self.ranks.is_main:
            return None
        # On all that is held out: what the last evaluation looks at.
        found = plan.task.baseline(plan.data, 0)
        if found is None:
            return None
        details = {"baseline_loss": found.loss, "metrics": dict(found.metrics)}
        self.reporter.event("baseline", found.text, details)
        return found.loss


def _is_done(start: StartingPoint, steps: int) -> bool:
    """Whether the last version of a run of so many steps is there already."""
    return start.own is not None and start.version[1] >= steps
