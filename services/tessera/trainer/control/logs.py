"""Everything that a process of an attempt prints, line by line, to the controller."""

from __future__ import annotations

import io
import sys
import threading
from typing import TextIO

from tessera.api.controller.v1 import attempt_pb2, attempt_pb2_grpc
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.trainer.control.background_sender import BackgroundSender
from tessera.trainer.control.outbox import Outbox
from tessera.trainer.settings import AttemptContext

CAPACITY = 20_000
BATCH = 500
MAX_LINE = 8_000
SECONDS = 10.0


class Lines:
    """Cuts what is written into lines. Pure and thread-safe."""

    def __init__(self, outbox: Outbox[str]) -> None:
        self._outbox = outbox
        self._rest = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Take text; whole lines go to the outbox."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                # A progress bar rewrites its line; only its last state is worth keeping.
                self._outbox.put(line.rstrip("\r").rsplit("\r", 1)[-1][:MAX_LINE])

    def finish(self) -> None:
        """Take what was left without a line end."""
        if self._rest:
            self.write("\n")


class Tee(io.TextIOBase):
    """A text stream that also hands everything to `lines`."""

    def __init__(self, stream: TextIO, lines: Lines) -> None:
        self._stream = stream
        self._lines = lines

    def write(self, text: str) -> int:
        """Write to both."""
        self._lines.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Logs are for machines."""
        return False

    def fileno(self) -> int:
        """As the stream."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream."""
        return self._stream.encoding or "utf-8"


class LogShipper:
    """Takes over stdout and stderr of this process and ships them as one source.

    Args:
        context: of the attempt.
        source: `driver` or `rank-N`.
    """

    def __init__(self, context: AttemptContext, source: str) -> None:
        self._ref = attempt_pb2.AttemptRef(job=context.job, attempt=context.attempt)
        self._source = source
        self._metadata = bearer(context.token)
        self._channel = channel(context.controller)
        self._stub = attempt_pb2_grpc.AttemptServiceStub(self._channel)
        self._outbox: Outbox[str] = Outbox(CAPACITY, lambda _: True)
        self._lines = Lines(self._outbox)
        self._sender = BackgroundSender(f"logs-{source}", self._deliver, period=0.5)
        self._streams = (sys.stdout, sys.stderr)

    def start(self) -> None:
        """Take over."""
        sys.stdout, sys.stderr = (Tee(stream, self._lines) for stream in self._streams)
        self._sender.start()

    def close(self, patience: float = 10.0) -> None:
        """Give the streams back and deliver what waits."""
        self._lines.finish()
        sys.stdout, sys.stderr = self._streams
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
            self._stub.AppendLogs(request, metadata=self._metadata, timeout=SECONDS)
        self._outbox.acknowledge(batch[-1][0])
        return not self._outbox.empty
