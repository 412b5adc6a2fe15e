"""What Ray Train runs on every worker: join the driver, run the rank, say goodbye."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import attempt_pb2, pool_pb2, pool_pb2_grpc
from tessera.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tessera.device import Device, is_out_of_memory
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.telemetry.log import configure_logging
from tessera.trainer.commands import Commands, DriverLink
from tessera.trainer.failure import classify
from tessera.trainer.failure_messages import failure_message
from tessera.trainer.gang import Gang
from tessera.trainer.logs import LogShipper
from tessera.trainer.loop import Outcome
from tessera.trainer.origin import Store
from tessera.trainer.recorder import Recorder
from tessera.trainer.reporter import ControllerReporter, Progress, Reporter
from tessera.trainer.run import Run
from tessera.trainer.settings import Link, Settings
from tessera.weights.coordinator import Coordinator

SECONDS = 30.0
BLOB_SECONDS = 600.0


def work(config: dict[str, Any]) -> None:
    """One rank of the attempt.

    Args:
        config: `settings` and `link`, as the driver gave them to the trainer.
    """
    settings, link = config["settings"], config["link"]
    gang = Gang.joined()
    shipper = LogShipper(link, f"rank-{gang.rank}")
    shipper.start()
    configure_logging("trainer")
    try:
        _attend(settings, link, gang)
    finally:
        shipper.close()


def _attend(settings: Settings, link: Link, gang: Gang) -> None:
    with channel(link.driver) as connection:
        stub = trainer_pb2_grpc.RankServiceStub(connection)
        metadata = bearer(link.token)
        join = trainer_pb2.JoinRequest(rank=gang.rank, host=platform.node(), pid=os.getpid())
        with mapped_errors():
            stub.Join(join, metadata=metadata, timeout=SECONDS, wait_for_ready=True)
        leave = trainer_pb2.LeaveRequest(rank=gang.rank)
        try:
            _say(leave, _run(settings, link, gang))
        except Exception as error:
            failure = classify(error, gang.rank, out_of_memory=is_out_of_memory(error))
            leave.failure.CopyFrom(failure_message(failure))
            leave.collateral = failure.collateral
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


def _run(settings: Settings, link: Link, gang: Gang) -> Outcome:
    device = Device.for_accelerator(settings.accelerator, gang.local_rank)
    device.use()
    latest: list[Progress] = []
    reporter: Reporter = ControllerReporter(link) if gang.leads else Recorder()
    driver = DriverLink(link, lambda: latest[-1] if latest else None) if gang.leads else None
    try:
        run = Run(
            settings=settings,
            gang=gang,
            device=device,
            reporter=reporter,
            commands=driver.commands if driver else Commands(),
            store=_store(link),
            read_blob=lambda digest: read_blob(link, digest),
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


def _store(link: Link) -> Store:
    return Store(
        coordinator=Coordinator(link.controller, link.token),
        token=link.token,
        tenant=link.tenant,
        job=link.job,
        attempt=link.attempt,
    )


def read_blob(link: Link, digest: str) -> bytes:
    """The content of an uploaded file.

    Raises:
        NotFoundError: the controller does not have it.
    """
    with channel(link.controller) as connection, mapped_errors():
        stub = pool_pb2_grpc.BlobServiceStub(connection)
        request = pool_pb2.GetBlobRequest(digest=digest)
        parts = stub.GetBlob(
            request, metadata=bearer(link.token), timeout=BLOB_SECONDS, wait_for_ready=True
        )
        return b"".join(part.data for part in parts)
