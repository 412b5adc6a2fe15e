"""Commands that reach a run at a step boundary: the next one, or the one after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from tessera.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.token import tls_of
from tessera.trainer.control.background_sender import BackgroundSender
from tessera.trainer.run_progress import RunProgress
from tessera.trainer.settings import AttemptContext

PERIOD = 0.3
SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCommands:
    """What to do at a step boundary."""

    checkpoint: bool = False
    stop: bool = False

    def to_numbers(self) -> tuple[float, float]:
        """For a sum over the ranks, to which only rank 0 adds."""
        return float(self.checkpoint), float(self.stop)

    @classmethod
    def from_numbers(cls, checkpoint: float, stop: float) -> StepCommands:
        """From such a sum."""
        return cls(checkpoint=bool(checkpoint), stop=bool(stop))


class CommandQueue:
    """The commands that have come and were not taken yet. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._taken = 0
        self._stop = False
        self._checkpoint_before_stop = True

    def update(self, checkpoints: int, *, stop: bool, checkpoint_before_stop: bool) -> None:
        """Take in what was asked for since the attempt began."""
        with self._lock:
            self._asked = max(self._asked, checkpoints)
            if stop and not self._stop:
                self._stop, self._checkpoint_before_stop = True, checkpoint_before_stop

    def cancel(self) -> None:
        """Stop, after a last version."""
        with self._lock:
            self._stop = True

    def take(self) -> StepCommands:
        """What to do now; a checkpoint is returned once."""
        with self._lock:
            wanted = self._asked > self._taken
            self._taken = self._asked
            wanted = wanted or (self._stop and self._checkpoint_before_stop)
            return StepCommands(checkpoint=wanted, stop=self._stop)


class DriverLink:
    """Exchanges status for commands with the driver, in a thread of rank 0.

    Args:
        context: names the driver.
        status: where the run is.
    """

    def __init__(self, context: AttemptContext, status: Callable[[], RunProgress | None]) -> None:
        self.commands = CommandQueue()
        self._status = status
        self._token = context.token
        self._channel = channel(context.driver, tls_of(context.token), context.server_name)
        self._stub = trainer_pb2_grpc.RankServiceStub(self._channel)
        self._sender = BackgroundSender("commands", self._sync, period=PERIOD)
        self._sender.start()

    def close(self) -> None:
        """Tell the last status and end."""
        self._sender.close(lambda: True, 0.0)
        self._channel.close()

    def _sync(self) -> bool:
        now = self._status()
        request = trainer_pb2.SyncRequest(phase="preparing")
        if now is not None:
            request = trainer_pb2.SyncRequest(
                phase=now.phase,
                step=now.step,
                total_steps=now.total_steps,
                version=now.version,
                version_step=now.version_step,
            )
        with mapped_errors():
            reply = self._stub.Sync(request, metadata=bearer(self._token), timeout=SECONDS)
        self.commands.update(
            reply.checkpoints,
            stop=reply.stop,
            checkpoint_before_stop=reply.checkpoint_before_stop,
        )
        return False
