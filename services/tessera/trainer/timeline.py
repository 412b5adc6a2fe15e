"""What is due when in a run, once its examples are counted. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from tessera.spec.epochs import period, steps_of
from tessera.trainer.failure import UserError
from tessera.trainer.settings import Settings
from tessera.trainer.step.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The steps of a run: the same on every rank, and at any number of ranks.

    Args:
        schedule: of the learning rate; knows the number of steps.
        evaluate_every: steps, perhaps with a fraction; 0: only at the end.
        publish_every: the same for versions.
        log_every: steps between reports of metrics.
        batch_size: examples of one step over all ranks.
        examples: that one epoch trains on; 0: the data set has no end.
        held_out: examples that are held out.
    """

    schedule: Schedule
    evaluate_every: Fraction
    publish_every: Fraction
    log_every: int
    batch_size: int
    examples: int
    held_out: int

    @classmethod
    def of(cls, settings: Settings, *, examples: int, held_out: int) -> Timeline:
        """The timeline of a run on so many examples.

        Raises:
            UserError: EPOCHS_UNKNOWN where a data set without an end is counted in epochs;
                WARMUP_LONGER_THAN_STEPS, FREEZE_STEPS.
        """
        size = settings.batch_size
        if not examples:
            _check_endless(settings)
        steps = settings.steps
        if settings.epochs:
            steps = max(settings.min_steps, steps_of(settings.epochs, examples, size))

        def every(count: int, epochs: float, ratio: float) -> Fraction:
            if epochs:
                return period(epochs, examples, size)
            return Fraction(repr(ratio)) * steps if ratio else Fraction(count)

        warmup = settings.warmup_steps or math.ceil(Fraction(repr(settings.warmup_ratio)) * steps)
        _check_length(settings, steps, warmup)
        return cls(
            schedule=Schedule(steps=steps, warmup=warmup, peak=settings.lr, floor=settings.min_lr),
            evaluate_every=every(
                settings.eval_every, settings.eval_every_epochs, settings.eval_every_ratio
            ),
            publish_every=every(
                settings.publish_every, settings.publish_every_epochs, settings.publish_every_ratio
            ),
            log_every=settings.log_every,
            batch_size=size,
            examples=examples,
            held_out=held_out,
        )

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.schedule.steps

    @property
    def steps_per_epoch(self) -> float | None:
        """With their fraction; None: the data set has no end."""
        return self.examples / self.batch_size if self.examples else None

    def epochs(self, samples: int) -> float | None:
        """Epochs that so many samples are; None: the data set has no end."""
        return samples / self.examples if self.examples else None

    def evaluates_at(self, step: int) -> bool:
        """Whether an evaluation is due after so many steps."""
        return step == self.steps or _passes(step, self.evaluate_every)

    def publishes_at(self, step: int) -> bool:
        """Whether a version is due after so many steps."""
        return step == self.steps or _passes(step, self.publish_every)

    def logs_at(self, step: int) -> bool:
        """Whether metrics are due after so many steps."""
        return step == self.steps or step % self.log_every == 0

    def describe(self) -> str:
        """What the data comes to, in one sentence."""
        held_out = f"{self.held_out:,} held out"
        if not self.examples:
            return f"a data set without an end, {held_out}; {self.steps:,} steps"
        epochs = self.steps * self.batch_size / self.examples
        return (
            f"{self.examples:,} examples to train on, {held_out}; an epoch is "
            f"{self.examples / self.batch_size:,.4g} steps of {self.batch_size}, the run "
            f"{self.steps:,} steps or {epochs:,.4g} epochs"
        )


def _passes(step: int, every: Fraction) -> bool:
    """Whether a multiple of `every` lies above the step before and not above this one."""
    return every > 0 and step // every > (step - 1) // every


def _check_endless(settings: Settings) -> None:
    told = {
        "train.epochs": settings.epochs,
        "train.eval_every_epochs": settings.eval_every_epochs,
        "publish.every_epochs": settings.publish_every_epochs,
    }
    for field, epochs in told.items():
        if epochs:
            description = (
                "the data set of the entrypoint does not say how many examples an epoch has; give "
                "it a method `examples`, or count in steps"
            )
            raise UserError.at(field, description, "EPOCHS_UNKNOWN")


def _check_length(settings: Settings, steps: int, warmup: int) -> None:
    """What `tessera.spec` has checked already unless epochs say how long the run is."""
    if warmup > steps:
        description = f"a warm-up of {warmup} steps is longer than the run of {steps}"
        raise UserError.at("train.warmup_steps", description, "WARMUP_LONGER_THAN_STEPS")
    thaws = settings.tuning.freeze_steps
    if thaws > steps:
        description = f"a run of {steps} steps never comes to step {thaws}; 0 freezes for good"
        raise UserError.at("tuning.freeze_steps", description, "FREEZE_STEPS")
