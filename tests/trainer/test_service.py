"""The driver's ear for its ranks, over a real socket."""

from __future__ import annotations

import asyncio
import time

import pytest

from tessera import errors
from tessera.api.controller.v1 import job_pb2
from tessera.api.trainer.v1 import trainer_pb2 as pb
from tessera.api.trainer.v1 import trainer_pb2_grpc as pb_grpc
from tessera.rpc.channel import aio_channel, bearer, mapped_errors
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.policy.rule import Owner
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server
from tessera.trainer.control import service
from tessera.trainer.control.attempt import AttemptRecord

NAME = pb.DESCRIPTOR.services_by_name["RankService"].full_name


@pytest.fixture
async def leave():
    """Calls Leave of a driver of two ranks, as one of them or as `who`."""
    issuer = Issuer(Issuer.generate_key())
    record = AttemptRecord(job="j", attempt=1, total_steps=5, world_size=2)
    ranks = service.RankService(record)
    server = Server(
        Door(Verifier([issuer.public_key()]), owner=Owner(tenant="default", job="j", attempt=1)),
        [(NAME, lambda s: pb_grpc.add_RankServiceServicer_to_server(ranks, s))],
    )
    port = await server.start()
    async with aio_channel(f"127.0.0.1:{port}") as connection:

        async def call(rank, *, collateral, who=None):
            principal = who or Principal(subject="j", role=Role.ATTEMPT, job="j", attempt=1)
            request = pb.LeaveRequest(rank=rank, collateral=collateral)
            request.failure.CopyFrom(job_pb2.Failure(message="m", rank=rank))
            with mapped_errors():
                await pb_grpc.RankServiceStub(connection).Leave(
                    request, metadata=bearer(issuer.issue(principal)), timeout=20
                )

        call.record = record
        yield call
    await server.drain(grace=0)


async def test_a_rank_that_suffers_waits_for_the_guilty_one(leave):
    suffering = asyncio.create_task(leave(0, collateral=True))
    await asyncio.sleep(0.3)
    assert not suffering.done()
    await leave(1, collateral=False)
    await suffering
    assert leave.record.ended({}).failure.rank == 1


@pytest.mark.measures
async def test_nobody_waits_where_all_ranks_suffer(leave):
    begin = time.monotonic()
    await asyncio.gather(leave(0, collateral=True), leave(1, collateral=True))
    assert time.monotonic() - begin < service.GUILTY_SECONDS / 2


async def test_a_guilty_rank_that_says_nothing_is_not_waited_for_long(leave, monkeypatch):
    monkeypatch.setattr(service, "GUILTY_SECONDS", 0.2)
    await leave(0, collateral=True)
    assert leave.record.ended({}).failure.rank == 0


async def test_ranks_of_other_attempts_are_not_heard(leave):
    other = Principal(subject="j", role=Role.ATTEMPT, job="j", attempt=2)
    with pytest.raises(errors.PermissionDeniedError):
        await leave(0, collateral=False, who=other)
    assert not leave.record.rank_failures
