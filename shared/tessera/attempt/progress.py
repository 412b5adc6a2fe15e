"""How far an attempt is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is, for people; losses in nats per token.

    Args:
        step: optimizer steps done.
        total_steps: 0: not known before the examples are counted.
        loss: of the latest steps.
        held_out_loss: of the last evaluation; None: there was none yet.
        baseline_loss: what knows nothing of the inputs has; None: not measured.
        tokens_per_second: over all ranks.
        seconds_left: None: not known.
        version: number of the latest that it committed; 0: none.
        phase: what it is at, in one word.
        metrics: of the last evaluation, by name.
        epoch: epochs done, with their fraction; None: not known, or there are none.
        examples: that one epoch trains on; 0: not counted, or there are no epochs.
        held_out_examples: that are not trained on.
        steps_per_epoch: with their fraction.
        evaluated_examples: held-out examples that the last evaluation looked at.
    """

    step: int = 0
    total_steps: int = 0
    loss: float = 0.0
    held_out_loss: float | None = None
    baseline_loss: float | None = None
    tokens_per_second: float = 0.0
    seconds_left: float | None = None
    version: int = 0
    phase: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    epoch: float | None = None
    examples: int = 0
    held_out_examples: int = 0
    steps_per_epoch: float | None = None
    evaluated_examples: int = 0
