"""Taking a push stream apart: headers announce slices, bytes follow, checksums are verified."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.parameters.inbox import Inbox, Target
from tessera.parameters.pending import PendingPiece
from tessera.weights.blocks import BLOCK_BYTES, SliceHasher
from tessera.weights.box import Box
from tessera.weights.manifest import SliceSpec
from tessera.weights.strided import Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A slice whose bytes follow."""

    tensor: int
    group: str
    box: Box
    size: int
    checksum: int


class PushStream:
    """One push stream.

    Args:
        inbox: where it goes.
        target: what it writes to.
        shard: name of this shard.
        block_bytes: how much has a checksum of its own.
    """

    def __init__(
        self, inbox: Inbox, target: Target, shard: str, block_bytes: int = BLOCK_BYTES
    ) -> None:
        self._inbox = inbox
        self._target = target
        self._shard = shard
        self._durable = inbox.begin(target)
        self._queue: deque[Announced] = deque()
        self._pieces: dict[str, PendingPiece] = {}
        self._repeated: list[tuple[int, Box, int, int]] = []
        self._block_bytes = block_bytes
        self._hasher = SliceHasher(block_bytes)
        self._filled = 0
        self._size = 0

    def announce(self, headers: Sequence[Announced]) -> None:
        """Slices whose bytes follow, in order."""
        self._queue.extend(headers)

    def take(self, data: Bytes) -> None:
        """The next bytes; they may span slices.

        Raises:
            DataLossError: a slice does not match its checksum (reason CHECKSUM_MISMATCH).
            InvalidArgumentError: more came than was announced (reason UNANNOUNCED_BYTES).
        """
        while data.size:
            if not self._queue:
                raise errors.InvalidArgumentError(
                    "bytes came that no header had announced", reason="UNANNOUNCED_BYTES"
                )
            header = self._queue[0]
            part = data[: header.size - self._filled]
            self._hasher.update(part)
            if self._durable is None:
                self._piece(header).append(part)
            self._filled += part.size
            data = data[part.size :]
            if self._filled == header.size:
                self._finish_slice(self._queue.popleft())

    def finish(self) -> int:
        """Hand everything over to the inbox; returns the bytes.

        Raises:
            DataLossError: the stream ended within a slice (reason SHORT_PUSH).
            FailedPreconditionError: the version is sealed and had other slices (VERSION_CLOSED), or
                a later writer has been here (FENCED).
        """
        if self._queue:
            raise errors.DataLossError(
                f"the stream ended {len(self._queue)} slices too early", reason="SHORT_PUSH"
            )
        if self._durable is None:
            self._inbox.arrive(self._target, list(self._pieces.values()))
            return self._size
        kept = [(s.tensor, s.box, s.size, s.checksum) for s in self._durable]
        if sorted(kept, key=repr) != sorted(self._repeated, key=repr):
            raise errors.FailedPreconditionError(
                f"rank {self._target.rank} has sealed other slices of {self._target.set}"
                f"@{self._target.version}; open a new version",
                reason="VERSION_CLOSED",
            )
        return self._size

    def discard(self) -> None:
        """Forget what came."""
        for piece in self._pieces.values():
            piece.discard()

    def _piece(self, header: Announced) -> PendingPiece:
        piece = self._pieces.get(header.group)
        if piece is None:
            piece = self._inbox.piece(self._target, header.group)
            self._pieces[header.group] = piece
        return piece

    def _finish_slice(self, header: Announced) -> None:
        digest, blocks = self._hasher.finish()
        if digest != header.checksum:
            raise errors.DataLossError(
                f"slice {list(header.box.offsets)}+{list(header.box.extents)} of tensor"
                f" {header.tensor} does not match its checksum; push it again",
                reason="CHECKSUM_MISMATCH",
                metadata={"tensor": str(header.tensor), "group": header.group},
            )
        if self._durable is None:
            piece = self._pieces[header.group]
            piece.slices.append(
                SliceSpec(
                    tensor=header.tensor,
                    box=header.box,
                    shard=self._shard,
                    piece=piece.name,
                    offset=piece.size - header.size,
                    size=header.size,
                    checksum=header.checksum,
                    blocks=blocks,
                    block_bytes=self._block_bytes,
                )
            )
        else:
            self._repeated.append((header.tensor, header.box, header.size, header.checksum))
        self._filled = 0
        self._size += header.size
