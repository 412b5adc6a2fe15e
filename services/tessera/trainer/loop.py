"""The run of one rank, from one step boundary to the next.

    orders ──► step ──► report ──► evaluate ──► commit ──► orders …
       next batches    (if due)   (if due)     (if due, or ordered)

What is ordered, and how many targets a step has, is one sum over the ranks, begun a step ahead.

Everything in it is the same on all ranks but the rows of the batches; only rank 0 reports.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tessera.trainer.batch import Dataset, TokenBatch
from tessera.trainer.control.commands import CommandQueue
from tessera.trainer.control.reporter import Reporter
from tessera.trainer.failure import CollateralError, UserError
from tessera.trainer.position import Position
from tessera.trainer.ranks import Ranks
from tessera.trainer.run_progress import RunProgress
from tessera.trainer.settings import Settings
from tessera.trainer.step.averages import LossAverages, means
from tessera.trainer.step.evaluate import evaluate
from tessera.trainer.step.prefetch import StepPrefetcher
from tessera.trainer.step.step import Stepper, TrainedStep
from tessera.trainer.timeline import Timeline
from tessera.trainer.versions.background_publisher import BackgroundPublisher
from tessera.trainer.versions.digests import tell_digests
from tessera.trainer.versions.publish import Publisher


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended: whether all steps are done, and the newest version (0: none)."""

    finished: bool
    version: int


class Loop:
    """Trains until the last step, or until it is told to stop.

    Args:
        timeline: says what is due when.
        stepper: takes the steps.
        dataset: gives the samples.
        publisher: commits versions; None: nobody wants any.
        commands: of rank 0; the others are told by it.
        position: where to begin.
        version: newest committed version of this job, and its step.
        baseline: held-out loss that is reached without a model.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        timeline: Timeline,
        ranks: Ranks,
        stepper: Stepper,
        dataset: Dataset,
        reporter: Reporter,
        commands: CommandQueue,
        publisher: Publisher | None,
        position: Position,
        version: tuple[int, int] = (0, 0),
        baseline: float | None = None,
        on_progress: Callable[[RunProgress], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._timeline = timeline
        self._ranks = ranks
        self._stepper = stepper
        self._dataset = dataset
        self._reporter = reporter
        self._prefetcher = StepPrefetcher(
            settings=settings,
            ranks=ranks,
            dataset=dataset,
            commands=commands,
            reporter=reporter,
            terms=len(stepper.objective.terms),
        )
        self._publisher = BackgroundPublisher(publisher) if publisher is not None else None
        self._begun_at = version[1]
        self.position = position
        self._on_progress = on_progress
        self._window = (time.monotonic(), 0)
        self._progress = _begun(timeline, position, version, baseline)

    def run(self) -> Outcome:
        """Train; returns when it is over."""
        try:
            return self._run()
        finally:
            if self._publisher is not None:
                self._publisher.close()

    def _run(self) -> Outcome:
        self._stepper.parallel.model.train()
        self._tell(phase="training")
        self._window = (time.monotonic(), 0)
        pending = self._prefetcher.prepare(self.position.samples)
        while self.position.step < self._timeline.steps:
            now = pending
            counts, tokens, orders = now.wait()
            self._take_committed()
            if orders.checkpoint:
                self._commit()
            if orders.stop:
                self._take_committed(wait=True)
                return self._outcome(finished=False)
            # The ranks agree on the next step during this one, so that none waits for another.
            if self.position.step + 1 < self._timeline.steps:
                samples = self.position.samples + self._settings.batch_size
                pending = self._prefetcher.prepare(samples)
            self._step(now.batches, counts, tokens)
            step = self.position.step
            if self._timeline.evaluates_at(step):
                self._evaluate()
            if self._timeline.publishes_at(step):
                self._commit()
        self._tell(phase="committing")
        self._take_committed(wait=True)
        self._tell_digests()
        self._tell(phase="finished")
        return self._outcome(finished=True)

    def _outcome(self, *, finished: bool) -> Outcome:
        return Outcome(finished=finished, version=self._progress.version)

    def _step(self, batches: list[TokenBatch], counts: list[float], tokens: float) -> None:
        rate = self._timeline.schedule.rate(self.position.step)
        hold = self.position.step < self._settings.tuning.freeze_steps
        done = self._stepper.step(batches, counts, rate, hold=hold)
        step = self.position.step + 1
        if not math.isfinite(done.norm):
            self._not_finite(done, step)
        samples = self.position.samples + self._settings.batch_size
        epoch = samples // self._timeline.examples if self._timeline.examples else 0
        self.position = replace(self.position, step=step, samples=samples, epoch=epoch)
        begin, seen = self._window
        self._window = (begin, seen + int(tokens))
        if self._timeline.logs_at(step):
            self._report(done, counts, tokens, rate)

    def _report(self, done: TrainedStep, counts: list[float], tokens: float, rate: float) -> None:
        losses = self._means(self._ranks.sum(*done.losses.tolist()), counts)
        begin, seen = self._window
        now = time.monotonic()
        speed = seen / max(1e-9, now - begin)
        self._window = (now, 0)
        left = (self._timeline.steps - self.position.step) * tokens / max(1e-9, speed)
        values = {
            **losses.values,
            "lr": rate,
            "grad_norm": done.norm,
            "tokens_per_second": speed,
        }
        memory = self._stepper.device.peak_memory()
        if memory is not None:
            values["peak_memory_bytes"] = float(memory)
        self._measured(values)
        self._tell(loss=losses.loss, tokens_per_second=speed, seconds_left=left)

    def _means(self, sums: list[float], counts: list[float]) -> LossAverages:
        return means(self._stepper.objective.terms, sums, counts)

    def _not_finite(self, done: TrainedStep, step: int) -> None:
        losses = self._ranks.gather(float(done.losses.sum()))
        bad = [rank for rank, loss in enumerate(losses) if not math.isfinite(loss)]
        what = f"the loss of rank {bad[0]}" if bad else "the gradient"
        message = (
            f"{what} is not finite at step {step}; lower `train.lr`, lengthen "
            "`train.warmup_steps` or set `train.clip_norm`"
        )
        if self._ranks.rank != (bad[0] if bad else 0):
            raise CollateralError(message)
        raise UserError(message, reason="LOSS_NOT_FINITE")

    def _measured(self, values: Mapping[str, float]) -> None:
        epoch = self._timeline.epochs(self.position.samples)
        if self._ranks.is_main:
            at = {} if epoch is None else {"epoch": epoch}
            self._reporter.metric(self.position.step, {**at, **values})

    def _evaluate(self) -> None:
        """The last one looks at all that is held out, those before it at a part of it."""
        self._tell(phase="evaluating")
        begin = time.monotonic()
        settings = self._settings
        last = self.position.step == self._timeline.steps
        parts = self._ranks.world_size * settings.grad_accumulation
        found = evaluate(
            self._stepper,
            self._dataset,
            self._ranks,
            samples=0 if last else settings.eval_batches * settings.batch_size,
            rows=settings.batch_size // parts,
        )
        self._measured(found.values)
        self._pause(time.monotonic() - begin)
        self._tell(
            phase="training",
            held_out_loss=found.losses.loss,
            metrics=dict(found.metrics),
            evaluated_examples=found.examples,
        )

    def _commit(self) -> None:
        """Begin to commit what there is now; training goes on when it has been copied."""
        if self._publisher is None or self._begun_at == self.position.step > 0:
            return
        self._tell(phase="committing")
        begin = time.monotonic()
        self._take_committed(wait=True)
        if self._settings.tuning.merge and self.position.step == self._timeline.steps:
            self._publisher.publisher.merge()
        self._publisher.begin(self.position, self._labels())
        self._begun_at = self.position.step
        stalled = time.monotonic() - begin
        if self._ranks.is_main:
            self._reporter.metric(self.position.step, {"stalled_seconds": stalled})
        self._pause(stalled)
        self._tell(phase="training")

    def _take_committed(self, *, wait: bool = False) -> None:
        """Tell of the version that was begun: if it is there by now, or as soon as it is."""
        if self._publisher is None:
            return
        done = self._publisher.finish() if wait else self._publisher.poll()
        if done is None:
            return
        self._tell(version=done.number, version_step=done.step)
        if self._ranks.is_main:
            details = {
                "version": done.number,
                "step": done.step,
                "seconds": done.seconds,
                "bytes": done.size,
                "set": self._publisher.publisher.set,
            }
            self._reporter.event("version", f"version {done.number} at step {done.step}", details)
            self._reporter.metric(done.step, {"commit_seconds": done.seconds})

    def _tell_digests(self) -> None:
        if self._publisher is not None:
            version = (self._progress.version, self._progress.version_step)
            placed = self._publisher.publisher.model()
            tell_digests(self._reporter, self._ranks, placed, version)

    def _labels(self) -> dict[str, str]:
        labels = {"family": self._settings.family, "job_name": self._settings.name}
        if self._progress.loss:
            labels["loss"] = f"{self._progress.loss:.4f}"
        if self._progress.held_out_loss is not None:
            labels["held_out_loss"] = f"{self._progress.held_out_loss:.4f}"
            labels["held_out_examples"] = str(self._progress.evaluated_examples)
        labels.update((name, f"{value:.4f}") for name, value in self._progress.metrics.items())
        return labels

    def _pause(self, seconds: float) -> None:
        """Leave a pause out of the pace of training."""
        begin, tokens = self._window
        self._window = (begin + seconds, tokens)

    def _tell(self, **changes: object) -> None:
        epoch = self._timeline.epochs(self.position.samples)
        self._progress = replace(
            self._progress,
            step=self.position.step,
            epoch=epoch,
            **changes,  # type: ignore[arg-type]
        )
        self._on_progress(self._progress)
        if self._ranks.is_main:
            self._reporter.progress(self._progress)


def _begun(
    timeline: Timeline, position: Position, version: tuple[int, int], baseline: float | None
) -> RunProgress:
    return RunProgress(
        step=position.step,
        total_steps=timeline.steps,
        phase="training",
        version=version[0],
        version_step=version[1],
        baseline_loss=baseline,
        examples=timeline.examples,
        held_out_examples=timeline.held_out,
        steps_per_epoch=timeline.steps_per_epoch,
    )
