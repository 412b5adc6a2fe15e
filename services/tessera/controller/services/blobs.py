"""BlobService: files that clients upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tessera.api.controller.v1 import pool_pb2 as pb
from tessera.api.controller.v1 import pool_pb2_grpc as pb_grpc
from tessera.controller.runtime import Runtime
from tessera.controller.store.blobs import BlobWriter


class BlobService(pb_grpc.BlobServiceServicer):
    """Blobs over streams of chunks; the disk is never touched on the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._blobs = runtime.blobs

    async def PutBlob(
        self, request_iterator: AsyncIterator[pb.PutBlobRequest], context: Any
    ) -> pb.PutBlobResponse:
        """Store a file; one that is there is kept."""
        del context
        writer: BlobWriter | None = None
        digest = ""
        try:
            async for part in request_iterator:
                if writer is None:
                    digest = part.digest
                    writer = await asyncio.to_thread(self._blobs.begin, digest)
                await asyncio.to_thread(writer.write, part.data)
            if writer is None:
                writer = self._blobs.begin(digest)
            return pb.PutBlobResponse(size=await asyncio.to_thread(writer.commit))
        except BaseException:
            if writer is not None:
                writer.abort()
            raise

    async def GetBlob(
        self, request: pb.GetBlobRequest, context: Any
    ) -> AsyncIterator[pb.GetBlobResponse]:
        """Stream a file."""
        del context
        chunks = self._blobs.read(request.digest)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield pb.GetBlobResponse(data=chunk)

    async def StatBlob(self, request: pb.StatBlobRequest, context: Any) -> pb.StatBlobResponse:
        """Size of a file."""
        del context
        size = await asyncio.to_thread(self._blobs.size, request.digest)
        return pb.StatBlobResponse(size=size)
