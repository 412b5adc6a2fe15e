"""What the driver knows of its attempt while it runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera.attempt.failure import Failure
from tessera.trainer.failure import RankFailure, root_cause


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStatus:
    """Where the run is, as rank 0 said last."""

    phase: str = "preparing"
    step: int = 0
    total_steps: int = 0
    version: int = 0
    version_step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the attempt ended: with a failure, or well, or stopped as it was asked to."""

    failure: Failure | None = None
    stopped: bool = False
    version: int = 0


@dataclass(slots=True, kw_only=True)
class AttemptRecord:
    """Ranks, status, commands and farewells of an attempt."""

    job: str
    attempt: int
    total_steps: int
    world_size: int
    status: AttemptStatus = field(default_factory=AttemptStatus)
    ranks: dict[int, str] = field(default_factory=dict)
    rank_failures: dict[int, RankFailure] = field(default_factory=dict)
    outcome: Ended | None = None
    checkpoints: int = 0
    stop: bool = False
    checkpoint_before_stop: bool = True

    def addresses(self) -> list[str]:
        """`host:pid` of the ranks that have joined, by rank; empty for one that has not."""
        return [self.ranks.get(rank, "") for rank in range(self.world_size)]

    def ask_stop(self, *, checkpoint: bool) -> None:
        """Ask for the end; the first who asks decides about the last version."""
        if not self.stop:
            self.stop, self.checkpoint_before_stop = True, checkpoint

    @property
    def explained(self) -> bool:
        """Whether a rank has told a failure of its own, or none is left that could."""
        own = any(not failure.collateral for failure in self.rank_failures.values())
        return own or len(self.rank_failures) == self.world_size

    def ended(self, lost_ranks: dict[int, Failure]) -> Ended:
        """How it ended, once every worker is gone.

        Args:
            lost_ranks: what the launcher says of the ranks.
        """
        if self.outcome is not None and not lost_ranks and not self.rank_failures:
            return self.outcome
        return Ended(
            failure=root_cause(self.rank_failures, lost_ranks), version=self.status.version
        )
