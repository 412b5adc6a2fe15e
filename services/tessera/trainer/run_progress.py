"""How far a run is, for its driver too. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.attempt.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress(Progress):
    """Progress as the driver hears it.

    Args:
        version_step: of the latest version; 0: none.
    """

    version_step: int = 0
