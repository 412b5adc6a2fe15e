"""TrainerService and RankService of an attempt's driver: messages to the attempt's record."""

from __future__ import annotations

import asyncio
from typing import Any

from tessera.api.controller.v1 import job_pb2
from tessera.api.trainer.v1 import trainer_pb2 as pb
from tessera.api.trainer.v1 import trainer_pb2_grpc as pb_grpc
from tessera.attempt.messages import failure_from_pb
from tessera.background import comes
from tessera.trainer.control.attempt import AttemptRecord, AttemptStatus, Ended
from tessera.trainer.failure import RankFailure

GUILTY_SECONDS = 15.0
"""How long a rank that suffers from another one's failure is kept until that one has spoken."""


class TrainerService(pb_grpc.TrainerServiceServicer):
    """Steers the run, for the controller."""

    def __init__(self, record: AttemptRecord) -> None:
        self._record = record

    async def GetStatus(self, _request: pb.GetStatusRequest, _context: Any) -> pb.GetStatusResponse:
        """Where the run is."""
        record, status = self._record, self._record.status
        run = job_pb2.JobRun(
            job=record.job,
            attempt=record.attempt,
            phase=status.phase,
            step=status.step,
            total_steps=status.total_steps or record.total_steps,
            version=status.version,
            version_step=status.version_step,
            ranks=record.addresses(),
        )
        return pb.GetStatusResponse(run=run)

    async def Checkpoint(
        self, _request: pb.CheckpointRequest, _context: Any
    ) -> pb.CheckpointResponse:
        """Ask for a version."""
        self._record.checkpoints += 1
        status = self._record.status
        return pb.CheckpointResponse(step=status.step, version=status.version)

    async def Stop(self, request: pb.StopRequest, _context: Any) -> pb.StopResponse:
        """Ask for the end."""
        checkpoint = request.checkpoint if request.HasField("checkpoint") else True
        self._record.ask_stop(checkpoint=checkpoint)
        return pb.StopResponse()


class RankService(pb_grpc.RankServiceServicer):
    """Hears the ranks."""

    def __init__(self, record: AttemptRecord) -> None:
        self._record = record
        self._explained = asyncio.Event()

    async def Sync(self, request: pb.SyncRequest, _context: Any) -> pb.SyncResponse:
        """Status for commands."""
        self._record.status = AttemptStatus(
            phase=request.phase,
            step=request.step,
            total_steps=request.total_steps,
            version=request.version,
            version_step=request.version_step,
        )
        return pb.SyncResponse(
            checkpoints=self._record.checkpoints,
            stop=self._record.stop,
            checkpoint_before_stop=self._record.checkpoint_before_stop,
        )

    async def Join(self, request: pb.JoinRequest, _context: Any) -> pb.JoinResponse:
        """A rank is there."""
        self._record.ranks[request.rank] = f"{request.host}:{request.pid}"
        return pb.JoinResponse()

    async def Leave(self, request: pb.LeaveRequest, _context: Any) -> pb.LeaveResponse:
        """A rank has ended; one that only suffers hears back when the guilty one has ended too."""
        kind = request.WhichOneof("outcome")
        if kind == "failure":
            told = failure_from_pb(request.failure)
            failure = RankFailure.of(told, collateral=request.collateral)
            self._record.rank_failures[request.rank] = failure
            if self._record.explained:
                self._explained.set()
            await comes(self._explained, GUILTY_SECONDS)
        elif request.rank == 0:
            stopped = kind == "stopped"
            version = request.stopped.version if stopped else request.success.version
            self._record.outcome = Ended(stopped=stopped, version=version)
        return pb.LeaveResponse()
