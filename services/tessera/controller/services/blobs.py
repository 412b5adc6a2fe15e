"""BlobService: files that clients upload, each its tenant's own."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import pool_pb2 as pb
from tessera.api.controller.v1 import pool_pb2_grpc as pb_grpc
from tessera.controller.runtime import Runtime
from tessera.controller.store import holdings
from tessera.controller.store.blobs import BlobWriter
from tessera.rpc.principal import current_principal


class BlobService(pb_grpc.BlobServiceServicer):
    """Blobs over streams of chunks; the disk is never touched on the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._blobs = runtime.blobs
        self._database = runtime.database
        self._limits = runtime.config.limits

    async def PutBlob(
        self, request_iterator: AsyncIterator[pb.PutBlobRequest], context: Any
    ) -> pb.PutBlobResponse:
        """Store a file, whole: whether another tenant has it already is nobody's to know."""
        del context
        tenant = current_principal().tenant
        writer: BlobWriter | None = None
        digest = ""
        try:
            with _disk_errors():
                async for part in request_iterator:
                    if writer is None:
                        digest = part.digest
                        writer = await self._begin(tenant, digest)
                    await asyncio.to_thread(writer.write, part.data)
                if writer is None:
                    writer = await self._begin(tenant, digest)
                size = await asyncio.to_thread(writer.commit)
        except BaseException:
            if writer is not None:
                writer.abort()
            raise
        await self._database.write(
            holdings.add,
            tenant,
            digest,
            size,
            quota=self._limits.of(tenant).blob_bytes,
            there=self._blobs.there,
        )
        return pb.PutBlobResponse(size=size)

    async def GetBlob(
        self, request: pb.GetBlobRequest, context: Any
    ) -> AsyncIterator[pb.GetBlobResponse]:
        """Stream a file."""
        del context
        await self._use(request.digest)
        chunks = self._blobs.read(request.digest)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield pb.GetBlobResponse(data=chunk)

    async def StatBlob(self, request: pb.StatBlobRequest, context: Any) -> pb.StatBlobResponse:
        """Size of a file."""
        del context
        await self._use(request.digest)
        size = await asyncio.to_thread(self._blobs.size, request.digest)
        return pb.StatBlobResponse(size=size)

    async def _begin(self, tenant: str, digest: str) -> BlobWriter:
        self._blobs.path(digest)
        quota = self._limits.of(tenant).blob_bytes
        room = await self._database.read(holdings.room, tenant, digest, quota)
        most = min(room, self._limits.uploads.bytes)
        return await asyncio.to_thread(self._blobs.begin, digest, most)

    async def _use(self, digest: str) -> None:
        """See that the caller's tenant has a blob, and note that it is used."""
        tenant = current_principal().tenant
        used = await self._database.read(holdings.check, tenant, digest)
        if time.time() - used > holdings.USED_SECONDS:
            await self._database.write(holdings.touch, tenant, digest)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """A full disk is load, no defect."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise errors.ResourceExhaustedError(
            "the controller's disk is full", reason="DISK_FULL", retry_after=60.0
        ) from error
