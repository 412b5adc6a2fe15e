"""What rank 0 tells the controller: progress, metrics, events. Never holds up a step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from google.protobuf import json_format, struct_pb2

from tessera import errors, validation
from tessera.api.controller.v1 import attempt_pb2, attempt_pb2_grpc, job_pb2
from tessera.attempt.messages import MAX_DETAILS, progress_to_pb
from tessera.attempt.progress import Progress
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.token import tls_of
from tessera.trainer.control.background_sender import BackgroundSender
from tessera.trainer.control.outbox import Outbox
from tessera.trainer.failure import FencedError
from tessera.trainer.settings import AttemptContext

CAPACITY = 50_000
BATCH = 200
SECONDS = 10.0
PATIENCE = 300.0
"""How long the end of a run waits for a controller that is away, in seconds."""


class Reporter(Protocol):
    """Where a run tells what happens; no call blocks but `close`."""

    cancelled: bool

    def progress(self, progress: Progress) -> None:
        """Replace the progress that is shown."""

    def metric(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point."""

    def event(self, kind: str, message: str, details: Mapping[str, Any]) -> None:
        """Add an entry to the job's history."""

    def check(self) -> None:
        """Raise FencedError if the controller does not take this attempt's reports any more."""

    def close(self, patience: float = PATIENCE) -> bool:
        """Deliver what waits; returns whether all of it arrived."""


class ControllerReporter:
    """Delivers numbered reports by AttemptService from a thread, across restarts of it.

    Args:
        context: of the attempt.
        mask: hides in what is told what nobody may read.
    """

    def __init__(self, context: AttemptContext, mask: Callable[[str], str] = str) -> None:
        self.cancelled = False
        self._mask = mask
        self._ref = attempt_pb2.AttemptRef(job=context.job, attempt=context.attempt)
        self._channel = channel(context.controller, tls_of(context.token))
        self._stub = attempt_pb2_grpc.AttemptServiceStub(self._channel)
        self._token = context.token
        self._outbox: Outbox[attempt_pb2.Report] = Outbox(CAPACITY, _is_metric)
        self._latest: Progress | None = None
        self._lock = threading.Lock()
        self._refused: errors.TesseraError | None = None
        self._asked = 0.0
        self._sender = BackgroundSender("reports", self._deliver, on_refused=self._refuse)
        self._sender.start()

    def progress(self, progress: Progress) -> None:
        """Replace the progress that is shown; one that was not sent yet is forgotten."""
        with self._lock:
            self._latest = progress

    def metric(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point."""
        shown = self._hidden(values)
        point = job_pb2.MetricPoint(step=step, attempt=self._ref.attempt, values=shown)
        point.time.GetCurrentTime()
        self._outbox.put(attempt_pb2.Report(metric=validation.fit(point)))

    def event(self, kind: str, message: str, details: Mapping[str, Any]) -> None:
        """Add an entry to the job's history."""
        fields = json_format.ParseDict(self._hidden(details), struct_pb2.Struct())
        if fields.ByteSize() > MAX_DETAILS:
            fields.Clear()
            fields.update({"left_out": f"more than {MAX_DETAILS} bytes"})
        event = job_pb2.JobEvent(
            type=kind, message=self._mask(message), attempt=self._ref.attempt, details=fields
        )
        self._outbox.put(attempt_pb2.Report(event=validation.fit(event)))
        self._sender.flush()

    def check(self) -> None:
        """Raise FencedError if the controller refuses this attempt."""
        if self._refused is not None:
            raise FencedError(f"the controller refused this attempt: {self._refused.message}")

    def close(self, patience: float = PATIENCE) -> bool:
        """Deliver what waits."""
        delivered = self._sender.close(self._nothing_waits, patience)
        self._channel.close()
        return delivered

    def _hidden(self, value: Any) -> Any:
        """The same without secrets, wherever a text is in it, and whether it names or is named."""
        match value:
            case str():
                return self._mask(value)
            case Mapping():
                return {self._mask(str(key)): self._hidden(each) for key, each in value.items()}
            case list() | tuple():
                return [self._hidden(each) for each in value]
        return value

    def _nothing_waits(self) -> bool:
        return self._latest is None and self._outbox.empty

    def _deliver(self) -> bool:
        with self._lock:
            latest, self._latest = self._latest, None
        if latest is not None:
            self._outbox.put(attempt_pb2.Report(progress=progress_to_pb(latest)))
        batch = self._outbox.batch(BATCH)
        if not batch and time.monotonic() - self._asked < 1.0:
            return False
        for number, report in batch:
            report.sequence = number
        request = attempt_pb2.ReportAttemptRequest(ref=self._ref, reports=[r for _, r in batch])
        with mapped_errors():
            reply = self._stub.ReportAttempt(request, metadata=bearer(self._token), timeout=SECONDS)
        self._asked = time.monotonic()
        self._outbox.acknowledge(reply.acknowledged)
        self.cancelled = self.cancelled or reply.cancelled
        return not self._outbox.empty

    def _refuse(self, error: errors.TesseraError) -> None:
        self._refused = error


def _is_metric(report: attempt_pb2.Report) -> bool:
    return report.HasField("metric")
