"""A reporter that keeps everything, for runs without a controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tessera.attempt.progress import Progress
from tessera.trainer.control.reporter import PATIENCE


class InMemoryReporter:
    """Keeps what a run tells in lists; `verbose` prints the metrics too."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.cancelled = False
        self.verbose = verbose
        self.latest: Progress | None = None
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def progress(self, progress: Progress) -> None:
        """Replace the latest progress."""
        self.latest = progress

    def metric(self, step: int, values: Mapping[str, float]) -> None:
        """Keep a point."""
        self.metrics.append((step, dict(values)))
        if self.verbose:
            shown = " ".join(f"{name}={value:.6g}" for name, value in values.items())
            print(f"step {step}: {shown}", flush=True)  # noqa: T201 - asked for

    def event(self, kind: str, message: str, details: Mapping[str, Any]) -> None:
        """Keep an entry."""
        self.events.append((kind, message, dict(details)))
        if self.verbose:
            print(f"{kind}: {message}", flush=True)  # noqa: T201 - asked for

    def check(self) -> None:
        """Nobody takes over."""

    def close(self, patience: float = PATIENCE) -> bool:  # noqa: ARG002 - the protocol's
        """Nothing waits."""
        return True
