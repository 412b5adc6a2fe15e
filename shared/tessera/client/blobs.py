"""Files of this machine on their way to the platform, addressed by their content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import pool_pb2 as pb
from tessera.api.controller.v1.pool_pb2_grpc import BlobServiceStub
from tessera.client.connection import Connection
from tessera.client.local_files import LocalFile

Progress = Callable[[int, int], None]
"""Called with bytes that are there and bytes in all."""

CHUNK = 1 << 20
SLOWEST_BYTES_PER_SECOND = 1e6


class Blobs:
    """Uploads; what the platform has already is not sent again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub: Any = BlobServiceStub(connection.channel)

    def upload(self, files: Sequence[LocalFile], progress: Progress | None = None) -> int:
        """Send what is missing; returns the bytes that were sent.

        Raises:
            FailedPreconditionError: FILE_CHANGED, while it was being read.
        """
        total, done, sent = sum(file.size for file in files), 0, 0
        for file in files:
            if not self.has(file.digest):
                self._put(file)
                sent += file.size
            done += file.size
            if progress:
                progress(done, total)
        return sent

    def has(self, digest: str) -> bool:
        """Whether the platform has a file of that sha256."""
        try:
            self._connection.call(self._stub.StatBlob, pb.StatBlobRequest(digest=digest))
        except errors.NotFoundError:
            return False
        return True

    def _put(self, file: LocalFile) -> None:
        seconds = 60 + file.size / SLOWEST_BYTES_PER_SECOND

        def put(_: None, **options: Any) -> Any:
            return self._stub.PutBlob(_parts(file), **options)

        try:
            self._connection.call(put, None, seconds=seconds)
        except (errors.InvalidArgumentError, errors.DataLossError) as error:
            raise errors.FailedPreconditionError(
                f"{file.name} changed while it was uploaded: {error.message}",
                reason="FILE_CHANGED",
            ) from None


def _parts(file: LocalFile) -> Iterator[pb.PutBlobRequest]:
    yield pb.PutBlobRequest(digest=file.digest)
    for data in _chunks(file.source):
        yield pb.PutBlobRequest(data=data)


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[i : i + CHUNK] for i in range(0, len(source), CHUNK))
        return
    with source.open("rb") as stream:
        while data := stream.read(CHUNK):
            yield data
