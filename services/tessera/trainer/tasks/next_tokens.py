"""What tasks have in common whose model writes the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tessera.models.inputs import Outputs
from tessera.trainer.batch import TokenBatch
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.task import LossTerm
from tessera.trainer.tasks.tokens import cross_entropy, measure_tokens, token_metrics


@dataclass(slots=True)
class NextTokens:
    """Losses and measures of next tokens; see `Task`.

    Args:
        settings: of the run.
    """

    settings: Settings
    terms: tuple[LossTerm, ...] = (LossTerm(name="next"),)

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1] of next tokens; see `Task`."""
        assert outputs.logits is not None
        smoothing = self.settings.task.label_smoothing
        return cross_entropy(outputs.logits, batch.targets["next"], smoothing)[None]

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[3] of next tokens; see `Task`."""
        assert outputs.logits is not None
        return measure_tokens(outputs.logits, batch.targets["next"])

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Perplexity and accuracy; see `Task`."""
        return token_metrics(sums)
