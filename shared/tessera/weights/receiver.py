"""The bytes of one stream of a pull: each block goes where it belongs, and is verified there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import xxhash

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.weights import strided, wire
from tessera.weights.destination import Destination, window
from tessera.weights.manifest import Manifest
from tessera.weights.slice_table import Checksums
from tessera.weights.transfer_table import TransferTable


class Receiver:
    """Takes the messages of a shard apart.

    Args:
        manifest: of the version.
        shard: that is asked.
        transfers: in the order in which it sends them.
        wants: what they count in.
    """

    def __init__(
        self,
        manifest: Manifest,
        shard: str,
        transfers: TransferTable,
        wants: Sequence[Destination],
    ) -> None:
        self._manifest = manifest
        self._shard = shard
        self._transfers = transfers
        self._wants = wants
        self._digests: list[int] = []
        self._sent: Checksums | None = None
        self._rest = memoryview(b"")
        self._taken = 0

    def receive(self, messages: Iterable[bytes]) -> None:
        """Consume a whole stream and verify it.

        Raises:
            DataLossError: bytes do not match their checksum (CHECKSUM_MISMATCH), or there are too
                few or too many of them (SHORT_PULL).
        """
        payloads = self._payloads(messages)
        columns = (self._transfers.wants, self._transfers.sizes, self._transfers.starts)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for number, (want, size, start) in enumerate(rows):
            if start < 0:
                self._scatter(number, payloads)
            else:
                self._fill(window(self._wants[want], start, size), payloads)
        extra = len(self._rest) - self._taken + sum(len(more) for more in payloads)
        self._verify(extra)

    def _payloads(self, messages: Iterable[bytes]) -> Iterator[memoryview]:
        for message in messages:
            data = wire.payload(wire.PULL_DATA, message)
            if data is not None:
                yield data.data
                continue
            reply = pb.PullSlicesResponse.FromString(message)
            if reply.WhichOneof("content") == "checksums":
                self._sent = np.array(reply.checksums.checksums, np.uint64)
            else:
                yield memoryview(reply.data)

    def _scatter(self, number: int, payloads: Iterator[memoryview]) -> None:
        """A block that lies apart in what is wanted."""
        transfer = self._transfers[number]
        out = self._wants[transfer.want].out.reshape(-1)
        staged = np.empty(transfer.size, np.uint8)
        self._fill(staged.data, payloads)
        strided.scatter(staged, out, transfer.extents, transfer.element_size, transfer.into)

    def _fill(self, target: memoryview, payloads: Iterator[memoryview]) -> None:
        """Fill `target` from what is left of a message and those that follow."""
        end = self._taken + len(target)
        if end <= len(self._rest):
            # Most often by far where there are many small ones.
            part = self._rest[self._taken : end]
            target[:] = part
            self._digests.append(xxhash.xxh3_64_intdigest(part))
            self._taken = end
            return
        hasher = xxhash.xxh3_64()
        filled = 0
        while filled < len(target):
            if self._taken == len(self._rest):
                following = next(payloads, None)
                if following is None:
                    raise errors.DataLossError("the shard sent too few bytes", reason="SHORT_PULL")
                self._rest, self._taken = following, 0
            part = self._rest[self._taken : self._taken + len(target) - filled]
            target[filled : filled + len(part)] = part
            hasher.update(part)
            filled += len(part)
            self._taken += len(part)
        self._digests.append(hasher.intdigest())

    def _verify(self, extra: int) -> None:
        if extra or self._sent is None or len(self._sent) != len(self._digests):
            raise errors.DataLossError(
                "the shard's stream does not end as announced", reason="SHORT_PULL"
            )
        transfers = self._transfers
        digests = np.array(self._digests, np.uint64)
        written = transfers.slices.columns.checksums[transfers.sources]
        # A whole slice is held against what its writer said, not only what the shard sent.
        wrong = (digests != self._sent) | (transfers.whole & (digests != written))
        for number in np.flatnonzero(wrong)[:1].tolist():
            tensor = self._manifest.tensors[transfers[number].source.tensor]
            raise errors.DataLossError(
                f"bytes of {tensor.group} tensor {tensor.name} from {self._shard} do not match"
                " their checksum",
                reason="CHECKSUM_MISMATCH",
                metadata={"tensor": tensor.name, "shard": self._shard},
            )
