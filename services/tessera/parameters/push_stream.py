"""Taking a push stream apart: headers announce slices, bytes follow, checksums are verified."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import xxhash

from tessera import errors
from tessera.parameters.inbox import Inbox, Target
from tessera.parameters.linked import EarlierVersion, Identity, LinkedPiece
from tessera.parameters.pending import ArrivedPiece, PendingPiece
from tessera.weights.blocks import BLOCK_BYTES, SliceHasher
from tessera.weights.box import Box
from tessera.weights.manifest import SliceSpec
from tessera.weights.record import record
from tessera.weights.reshape import View
from tessera.weights.strided import Bytes


@record
class Announced:
    """A slice whose bytes follow; or, with `reuse`, one that an earlier version has.

    `reuse` is the version, and the tensor's index in its list; `view` what the box is one of.
    """

    tensor: int
    group: str
    box: Box
    size: int
    checksum: int
    reuse: tuple[int, int] | None = None
    view: View = None


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
        self._repeated: list[Identity] = []
        self._earlier: dict[int, EarlierVersion] = {}
        self._linked: dict[str, LinkedPiece] = {}
        self._block_bytes = block_bytes
        self._hasher = SliceHasher(block_bytes)
        self._filled = 0
        self._size = 0

    def announce(self, headers: Iterable[Announced]) -> None:
        """Slices whose bytes follow, in order, and slices that are here already.

        Raises:
            FailedPreconditionError: one of those is not (NOT_HELD).
        """
        for header in headers:
            if header.reuse is None:
                self._queue.append(header)
            elif self._durable is None:
                self._take_over(header, header.reuse)
            else:
                self._repeat(header)

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
            if not self._filled and (whole := self._take_small(data)):
                data = data[whole:]
                continue
            header = self._queue[0]
            part = data[: header.size - self._filled]
            self._hasher.update(part)
            if self._durable is None:
                self._piece(header.group).append(part)
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
            self._copy_scraps()
            for piece in self._pieces.values():
                piece.flush()
            self._inbox.arrive(self._target, [*self._pieces.values(), *self._linked.values()])
            return self._size
        kept = [(s.tensor, s.box, s.view, s.size, s.checksum) for s in self._durable]
        if sorted(kept, key=repr) != sorted(self._repeated, key=repr):
            raise errors.FailedPreconditionError(
                f"rank {self._target.rank} has sealed other slices of {self._target.set}"
                f"@{self._target.version}; open a new version",
                reason="VERSION_CLOSED",
            )
        return self._size

    def discard(self) -> None:
        """Forget what came."""
        pieces: list[ArrivedPiece] = [*self._pieces.values(), *self._linked.values()]
        for piece in pieces:
            piece.discard()

    def _take_over(self, header: Announced, reuse: tuple[int, int]) -> None:
        number, tensor = reuse
        if number not in self._earlier:
            self._earlier[number] = self._inbox.earlier(self._target, number)
        identity = (tensor, header.box, header.view, header.size, header.checksum)
        found = self._earlier[number].find(identity)
        if found is None or found[0].group != header.group:
            raise _not_held(self._target, number)
        earlier, source = found
        if earlier.file not in self._linked:
            try:
                earlier.check()
                self._linked[earlier.file] = self._inbox.link(self._target, earlier)
            except (OSError, errors.DataLossError):
                raise _not_held(self._target, number) from None
        self._linked[earlier.file].take(source, header.tensor)
        self._size += header.size

    def _copy_scraps(self) -> None:
        """Of files of which little counts, copy that."""
        for file, linked in list(self._linked.items()):
            if not linked.worth_it:
                linked.copy(self._piece(linked.group))
                del self._linked[file]
                linked.discard()

    def _repeat(self, header: Announced) -> None:
        self._repeated.append(
            (header.tensor, header.box, header.view, header.size, header.checksum)
        )
        self._size += header.size

    def _piece(self, group: str) -> PendingPiece:
        if group not in self._pieces:
            self._pieces[group] = self._inbox.piece(self._target, group)
        return self._pieces[group]

    def _take_small(self, data: Bytes) -> int:
        """Slices of one block each and of one group that lie whole at the beginning of some bytes.

        Returns:
            their bytes.
        """
        group, taken = self._queue[0].group, 0
        piece = self._piece(group) if self._durable is None else None
        start = piece.size if piece is not None else 0
        while self._queue and self._queue[0].group == group:
            header = self._queue[0]
            end = taken + header.size
            if end > data.size or header.size > self._block_bytes:
                break
            digest = xxhash.xxh3_64_intdigest(data[taken:end].data)
            self._keep(header, digest, (digest,), start + taken)
            self._queue.popleft()
            taken = end
        if taken and piece is not None:
            piece.append(data[:taken])
        return taken

    def _finish_slice(self, header: Announced) -> None:
        digest, blocks = self._hasher.finish()
        start = self._pieces[header.group].size - header.size if self._durable is None else 0
        self._keep(header, digest, blocks, start)
        self._filled = 0

    def _keep(self, header: Announced, digest: int, blocks: tuple[int, ...], start: int) -> None:
        """Note a slice, which begins at a byte of its piece, if it is what was announced."""
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
                    offset=start,
                    size=header.size,
                    checksum=header.checksum,
                    blocks=blocks,
                    block_bytes=self._block_bytes,
                    view=header.view,
                )
            )
            self._size += header.size
        else:
            self._repeat(header)


def _not_held(target: Target, number: int) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"not all that {target.set}@{number} should have in common with {target.set}"
        f"@{target.version} is here; push all of it",
        reason="NOT_HELD",
    )
