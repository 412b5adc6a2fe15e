"""What the service counts, whoever keeps the counters."""

from __future__ import annotations

from typing import Protocol

PUSHED_BYTES = "tessera_parameters_pushed_bytes_total"
PULLED_BYTES = "tessera_parameters_pulled_bytes_total"
VERSIONS_COMMITTED = "tessera_parameters_versions_committed_total"
DISK_BYTES = "tessera_parameters_disk_bytes"


class Meter(Protocol):
    """Keeps counters and gauges; called from any thread."""

    def add(self, name: str, value: float) -> None:
        """Raise a counter."""

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""


class NoMeter:
    """Counts nothing."""

    def add(self, name: str, value: float) -> None:
        """Do nothing."""

    def set(self, name: str, value: float) -> None:
        """Do nothing."""
