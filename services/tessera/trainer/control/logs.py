"""Everything that a process of an attempt prints, line by line, to the controller."""

from __future__ import annotations

from collections.abc import Callable

from tessera.api.controller.v1 import attempt_pb2, attempt_pb2_grpc
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.token import tls_of
from tessera.trainer.control.background_sender import BackgroundSender
from tessera.trainer.control.outbox import Outbox
from tessera.trainer.control.output import PrintedOutput
from tessera.trainer.settings import AttemptContext

CAPACITY = 20_000
BATCH = 125
"""Lines of a message: what the longest ones of four bytes a character may take is 4 MB."""

SECONDS = 10.0


class LogShipper:
    """Ships what this process prints as one source.

    Args:
        context: of the attempt.
        source: `driver` or `rank-N`.
        mask: hides in a line what nobody may read; None: all of it may be read.
    """

    def __init__(
        self, context: AttemptContext, source: str, mask: Callable[[str], str] | None = None
    ) -> None:
        self._ref = attempt_pb2.AttemptRef(job=context.job, attempt=context.attempt)
        self._source = source
        self._token = context.token
        self._channel = channel(context.controller, tls_of(context.token))
        self._stub = attempt_pb2_grpc.AttemptServiceStub(self._channel)
        self._outbox: Outbox[str] = Outbox(CAPACITY, lambda _: True)
        self._output = PrintedOutput(self._outbox.put, mask)
        self._sender = BackgroundSender(f"logs-{source}", self._deliver, period=0.5)

    def start(self) -> None:
        """Begin with what is printed from now on."""
        self._output.start()
        self._sender.start()

    def close(self, patience: float = 10.0) -> None:
        """Take what was printed to the end, and deliver what waits."""
        self._output.close()
        self._sender.close(lambda: self._outbox.empty, patience)
        self._channel.close()

    def _deliver(self) -> bool:
        batch = self._outbox.batch(BATCH)
        if not batch:
            return False
        request = attempt_pb2.AppendLogsRequest(
            ref=self._ref,
            source=self._source,
            first_line=batch[0][0],
            lines=[line for _, line in batch],
        )
        with mapped_errors():
            self._stub.AppendLogs(request, metadata=bearer(self._token), timeout=SECONDS)
        self._outbox.acknowledge(batch[-1][0])
        return not self._outbox.empty
