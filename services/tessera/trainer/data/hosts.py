"""What the first rank of each host does for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tessera.trainer.failure import CollateralError, UserError
from tessera.trainer.ranks import Ranks

T = TypeVar("T")


def on_hosts(ranks: Ranks, work: Callable[[], T]) -> T | None:
    """Run `work` on the first rank of each host and wait for all; None on the other ranks.

    Raises:
        CollateralError: it raised on another rank; the rank itself raises the error.
    """
    value, error, failed = ranks.on_all(lambda: work() if ranks.is_host_main else None)
    if error is not None:
        raise error
    for rank, message in enumerate(failed):
        if message:
            raise CollateralError(f"rank {rank} failed: {message}")
    return value


def agreed(ranks: Ranks, digest: str | None) -> str:
    """The digest of what every host has read; ranks that have read nothing give None.

    Raises:
        UserError: DATA_DIFFERS.
    """
    digests = ranks.gather(digest)
    for rank, found in enumerate(digests):
        if found not in {digests[0], None}:
            description = (
                f"rank {rank} reads other data than rank 0; give files that are the same on every "
                "host"
            )
            raise UserError.at("data.files", description, "DATA_DIFFERS")
    return str(digests[0])
