"""What is known to be wrong with a file of a version. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tessera import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file that is not what was written.

    Attributes:
        group: of the tensors in it; empty: it may be any.
        reason: stable, the one that a reader is told.
        text: what is wrong.
        piece: that it is; empty: it may be any of the version on its shard.
    """

    group: str
    reason: str
    text: str
    piece: str = ""

    @staticmethod
    def of(error: errors.DataLossError, piece: str = "") -> Damage:
        """What a reader was told."""
        return Damage(
            group=error.metadata.get("group", ""),
            reason=error.reason,
            text=error.message,
            piece=piece,
        )
