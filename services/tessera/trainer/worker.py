"""What Ray Train runs on every worker: join the driver, run the rank, say goodbye."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import attempt_pb2, pool_pb2, pool_pb2_grpc
from tessera.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tessera.attempt.messages import failure_to_pb
from tessera.device import Device, is_out_of_memory
from tessera.environment import keep_private
from tessera.log import configure_logging
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.token import tls_of
from tessera.trainer.control.commands import CommandQueue, DriverLink
from tessera.trainer.control.in_memory_reporter import InMemoryReporter
from tessera.trainer.control.logs import LogShipper
from tessera.trainer.control.records import hide_in_records
from tessera.trainer.control.reporter import ControllerReporter, Reporter
from tessera.trainer.failure import classify
from tessera.trainer.loop import Outcome
from tessera.trainer.mask import Mask
from tessera.trainer.ranks import Ranks
from tessera.trainer.run import Run
from tessera.trainer.run_progress import RunProgress
from tessera.trainer.secrets import install
from tessera.trainer.settings import AttemptContext, Settings
from tessera.trainer.versions.starting_point import ParameterStore
from tessera.weights.coordinator import Coordinator

SECONDS = 30.0
BLOB_SECONDS = 600.0


def run_rank(config: dict[str, Any]) -> None:
    """One rank of the attempt.

    Args:
        config: `settings` and `link`, as the driver gave them to the trainer.
    """
    keep_private()
    settings, context = config["settings"], config["context"]
    ranks = Ranks.joined()
    mask = Mask()
    shipper = LogShipper(context, f"rank-{ranks.rank}", mask if settings.secrets else None)
    shipper.start()
    if settings.secrets:
        hide_in_records(mask)
    configure_logging("trainer")
    try:
        _attend(settings, context, ranks, mask)
    finally:
        shipper.close()


def _attend(settings: Settings, context: AttemptContext, ranks: Ranks, mask: Mask) -> None:
    with channel(context.driver, tls_of(context.token), context.server_name) as connection:
        stub = trainer_pb2_grpc.RankServiceStub(connection)
        metadata = bearer(context.token)
        join = trainer_pb2.JoinRequest(rank=ranks.rank, host=platform.node(), pid=os.getpid())
        with mapped_errors():
            stub.Join(join, metadata=metadata, timeout=SECONDS, wait_for_ready=True)
        leave = trainer_pb2.LeaveRequest(rank=ranks.rank)
        try:
            install(settings.secrets, context.tenant, os.environ, mask)
            _say(leave, _run(settings, context, ranks, mask))
        except Exception as error:
            out_of_memory = is_out_of_memory(error)
            failure = classify(error, ranks.rank, out_of_memory=out_of_memory, mask=mask)
            leave.failure.CopyFrom(failure_to_pb(failure))
            leave.collateral = failure.collateral
            if settings.secrets:
                # Ray writes down whatever is raised, and all that led to it.
                raise RuntimeError(failure.message) from None
            raise
        finally:
            # The first worker that ends takes all others with it, so the driver lets one that only
            # suffers wait here. A driver that is gone takes its workers with it.
            with suppress(errors.UnavailableError, errors.DeadlineExceededError), mapped_errors():
                stub.Leave(leave, metadata=metadata, timeout=SECONDS)


def _say(leave: trainer_pb2.LeaveRequest, outcome: Outcome) -> None:
    if outcome.finished:
        leave.success.CopyFrom(attempt_pb2.Success(version=outcome.version))
    else:
        leave.stopped.CopyFrom(attempt_pb2.Stopped(version=outcome.version))


def _run(settings: Settings, context: AttemptContext, ranks: Ranks, mask: Mask) -> Outcome:
    device = Device.for_accelerator(settings.accelerator, ranks.local_rank)
    device.use()
    latest: list[RunProgress] = []
    reporter: Reporter = ControllerReporter(context, mask) if ranks.is_main else InMemoryReporter()
    driver = DriverLink(context, lambda: latest[-1] if latest else None) if ranks.is_main else None
    try:
        run = Run(
            settings=settings,
            ranks=ranks,
            device=device,
            reporter=reporter,
            commands=driver.commands if driver else CommandQueue(),
            store=_store(context),
            read_blob=lambda digest: read_blob(context, digest),
            on_progress=lambda progress: latest.__setitem__(slice(None), [progress]),
        )
        outcome = run.execute()
    except BaseException:
        reporter.close(patience=10.0)
        raise
    finally:
        if driver is not None:
            driver.close()
    if not reporter.close():
        raise errors.UnavailableError(
            "the controller did not take the last reports", reason="CONTROLLER_UNREACHABLE"
        )
    return outcome


def _store(context: AttemptContext) -> ParameterStore:
    return ParameterStore(
        coordinator=Coordinator(context.controller, context.token),
        token=context.token,
        tenant=context.tenant,
        job=context.job,
        attempt=context.attempt,
    )


def read_blob(context: AttemptContext, digest: str) -> bytes:
    """The content of an uploaded file.

    Raises:
        NotFoundError: the controller does not have it.
    """
    with channel(context.controller, tls_of(context.token)) as connection, mapped_errors():
        stub = pool_pb2_grpc.BlobServiceStub(connection)
        request = pool_pb2.GetBlobRequest(digest=digest)
        parts = stub.GetBlob(
            request, metadata=bearer(context.token), timeout=BLOB_SECONDS, wait_for_ready=True
        )
        return b"".join(part.data for part in parts)
