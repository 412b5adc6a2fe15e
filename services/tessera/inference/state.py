"""Where a replica stands, and whether it may answer."""

from __future__ import annotations

import asyncio
import enum

from tessera import errors
from tessera.inference.activation import Activation
from tessera.inference.config import ServedModel
from tessera.inference.engine.engine import Engine

RETRY_SECONDS = 1.0


class Phase(enum.Enum):
    """A replica's life."""

    EMPTY = "empty"
    STAGED = "staged"
    ACTIVE = "active"
    BEHIND = "behind"
    FAILED = "failed"
    DRAINING = "draining"


class ReplicaState:
    """The one answer to what the replica does.

    Args:
        served: what it should serve.
        activation: brings the versions.
        stall_seconds: without a step for so long while there is work, it is not healthy.
    """

    def __init__(
        self, served: ServedModel, activation: Activation, stall_seconds: float = 30.0
    ) -> None:
        self.served = served
        self._activation = activation
        self._stall_seconds = stall_seconds
        self._draining = False

    @property
    def engine(self) -> Engine | None:
        """None as long as no version is loaded."""
        return self._activation.engine

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        if self._draining:
            return Phase.DRAINING
        if self.engine is not None:
            return Phase.BEHIND if self._behind else Phase.ACTIVE
        if self._activation.failed:
            return Phase.FAILED
        return Phase.STAGED if self._activation.staged else Phase.EMPTY

    @property
    def version(self) -> int:
        """That is served; 0 if none."""
        return 0 if self.engine is None else self.engine.active.version

    @property
    def message(self) -> str:
        """What is wrong, and what it waits for; empty if all is well."""
        if self.stalled:
            return f"the engine has not ended a step for {self._stall_seconds:g} s"
        engine = "" if self.engine is None else self.engine.status().message
        parts = (engine, self._behind, self._activation.message)
        return "; ".join(part for part in parts if part)

    @property
    def lag(self) -> int:
        """Moves of the set's head that it has heard of since its version was the head."""
        return self._activation.lag

    @property
    def _behind(self) -> str:
        """How far it is behind, if that is more than it may be."""
        most, lag = self.served.max_lag, self.lag
        if most is None or lag <= most:
            return ""
        moves = "1 move" if lag == 1 else f"{lag} moves"
        return f"version {self.version} is {moves} of the head behind, and max_lag is {most}"

    @property
    def stalled(self) -> bool:
        """Whether the engine hangs."""
        return self.engine is not None and self.engine.stalled(self._stall_seconds)

    @property
    def healthy(self) -> bool:
        """Whether it should get requests: it is active, and its version gives answers."""
        if self.engine is None or self.phase is not Phase.ACTIVE:
            return False
        return not self.stalled and not self.engine.status().hopeless

    def engine_for(self, name: str) -> Engine:
        """The engine that answers a request for a model.

        Raises:
            NotFoundError: this replica serves another deployment.
            FailedPreconditionError: DEPLOYMENT_FAILED.
            UnavailableError: NOT_READY, also while it is too far behind its set, or DRAINING.
        """
        if not self.served.answers_to(name):
            raise errors.NotFoundError(
                f"model: this replica serves `{self.served.deployment}`, not `{name}`",
                reason="MODEL_NOT_FOUND",
                violations=[errors.Violation("model", f"there is no `{name}` here")],
            )
        if self._draining:
            raise errors.UnavailableError(
                "this replica is about to end; ask another one",
                reason="DRAINING",
                retry_after=RETRY_SECONDS,
            )
        engine, behind = self.ready_engine(), self._behind
        if behind:
            raise errors.UnavailableError(
                f"{behind}; ask another replica, or again",
                reason="NOT_READY",
                retry_after=RETRY_SECONDS,
            )
        return engine

    def ready_engine(self) -> Engine:
        """The engine.

        Raises:
            FailedPreconditionError: there will never be one (DEPLOYMENT_FAILED).
            UnavailableError: NOT_READY.
        """
        if self.engine is None:
            if self._activation.failed:
                raise errors.FailedPreconditionError(
                    f"{self.served.deployment} cannot serve: {self._activation.message}",
                    reason="DEPLOYMENT_FAILED",
                )
            raise errors.UnavailableError(
                f"no weights yet: {self._activation.message or 'they are being loaded'}",
                reason="NOT_READY",
                retry_after=RETRY_SECONDS,
            )
        return self.engine

    async def drain(self) -> None:
        """Refuse what is new and wait until the rest has ended."""
        self._draining = True
        while self.engine is not None and not await asyncio.to_thread(self.engine.wait, 0.5):
            pass
