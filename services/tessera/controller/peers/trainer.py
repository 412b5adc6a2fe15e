"""What the controller asks of a running driver."""

from __future__ import annotations

from tessera.api.trainer.v1 import trainer_pb2 as pb
from tessera.api.trainer.v1 import trainer_pb2_grpc as pb_grpc
from tessera.rpc.channel import aio_channel, bearer, mapped_errors

SECONDS = 5.0


async def stop(address: str, token: str) -> None:
    """Ask the run at `host:port` to stop within two steps, after a last commit."""
    async with aio_channel(address) as connection:
        stub = pb_grpc.TrainerServiceStub(connection)
        with mapped_errors():
            await stub.Stop(pb.StopRequest(), metadata=bearer(token), timeout=SECONDS)
