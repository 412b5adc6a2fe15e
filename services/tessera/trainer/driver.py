"""The driver of one attempt: control server, ranks, outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog

from tessera import errors
from tessera.api.controller.v1 import attempt_pb2, attempt_pb2_grpc, registry_pb2
from tessera.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tessera.attempt.failure import Failure
from tessera.attempt.messages import failure_to_pb
from tessera.device import backend_for
from tessera.rpc.address import join
from tessera.rpc.channel import DEFAULT_SECONDS, aio_channel, bearer, mapped_errors
from tessera.rpc.door import Door
from tessera.rpc.identity import Verifier
from tessera.rpc.limits import LIMITS, CallLimits
from tessera.rpc.policy.rule import Owner
from tessera.rpc.registration import Registration, endpoint, fetch_verifier
from tessera.rpc.server import Server
from tessera.rpc.tls.identity import Listener, listener_of
from tessera.rpc.token import Token, tls_of
from tessera.trainer.control.attempt import AttemptRecord, Ended
from tessera.trainer.control.service import RankService, TrainerService
from tessera.trainer.failure import classify
from tessera.trainer.launch import train
from tessera.trainer.settings import AttemptContext, Settings
from tessera.trainer.spec import as_admitted, settings_of

log = structlog.get_logger()

PATIENCE = 600.0
"""Seconds for which the outcome is offered to a controller that is away."""

_NAMES = trainer_pb2.DESCRIPTOR.services_by_name


class Driver:
    """Runs an attempt from its spec to its outcome.

    Args:
        controller: host:port.
        token: of the attempt.
        host: address that the control server listens on.
        calls: what callers may have of it.
    """

    def __init__(
        self,
        *,
        job: str,
        attempt: int,
        controller: str,
        token: Token,
        host: str,
        calls: CallLimits = LIMITS,
    ) -> None:
        self._ref = attempt_pb2.AttemptRef(job=job, attempt=attempt)
        self._controller = controller
        self._token = token
        self._host = host
        self._calls = calls

    async def run(self) -> Ended:
        """Run it and tell the controller how it ended."""
        try:
            reply = await self._fetch()
            places = [dict(worker.label_selector) for worker in reply.workers]
            settings = settings_of(as_admitted(reply.spec, len(places)))
            ended = await self._serve(settings, reply.tenant, places[: settings.workers])
        except errors.TesseraError as error:
            ended = Ended(failure=classify(error, -1))
        except Exception as error:
            log.exception("the driver failed")
            ended = Ended(failure=classify(error, -1))
        await self._finish(ended)
        return ended

    async def _fetch(self) -> attempt_pb2.GetAttemptResponse:
        async with aio_channel(self._controller, tls_of(self._token)) as connection:
            stub = attempt_pb2_grpc.AttemptServiceStub(connection)
            with mapped_errors():
                return await stub.GetAttempt(
                    attempt_pb2.GetAttemptRequest(ref=self._ref),
                    metadata=bearer(self._token),
                    timeout=DEFAULT_SECONDS,
                    wait_for_ready=True,
                )

    async def _serve(
        self, settings: Settings, tenant: str, places: Sequence[Mapping[str, str]]
    ) -> Ended:
        record = AttemptRecord(
            job=self._ref.job,
            attempt=self._ref.attempt,
            total_steps=settings.steps,
            world_size=settings.workers,
        )
        tls = tls_of(self._token)
        verifier = await asyncio.to_thread(fetch_verifier, self._controller, "trainer", tls)
        server = _server(record, tenant, verifier, self._calls, listener_of(tls))
        address = join(self._host, await server.start(self._host))
        registration = Registration(
            self._controller, self._token, self._endpoint(address), verifier
        )
        await registration.start()
        context = AttemptContext(
            job=self._ref.job,
            attempt=self._ref.attempt,
            tenant=tenant,
            controller=self._controller,
            driver=address,
            token=self._token,
        )
        try:
            lost_ranks: dict[int, Failure] = await asyncio.to_thread(
                train, settings, context, backend_for(settings.accelerator), places
            )
            return record.ended(lost_ranks)
        finally:
            await registration.stop()
            await server.drain(grace=1.0)

    def _endpoint(self, address: str) -> registry_pb2.Endpoint:
        labels = {"attempt": str(self._ref.attempt)}
        return endpoint(registry_pb2.ROLE_TRAINER, self._ref.job, address, labels=labels)

    async def _finish(self, ended: Ended) -> None:
        request = attempt_pb2.FinishAttemptRequest(ref=self._ref)
        if ended.failure is not None:
            request.failure.CopyFrom(failure_to_pb(ended.failure))
        elif ended.stopped:
            request.stopped.version = ended.version
            request.stopped.SetInParent()
        else:
            request.success.version = ended.version
            request.success.SetInParent()
        end = time.monotonic() + PATIENCE
        while True:
            try:
                await self._offer(request)
            except (errors.UnavailableError, errors.DeadlineExceededError) as error:
                if time.monotonic() > end:
                    raise
                log.info("the controller is away", reason=error.reason)
                await asyncio.sleep(1.0)
            except errors.FailedPreconditionError as error:
                log.warning("the outcome came too late", message=error.message)
                return
            else:
                return

    async def _offer(self, request: attempt_pb2.FinishAttemptRequest) -> None:
        async with aio_channel(self._controller, tls_of(self._token)) as connection:
            stub = attempt_pb2_grpc.AttemptServiceStub(connection)
            with mapped_errors():
                await stub.FinishAttempt(
                    request, metadata=bearer(self._token), timeout=DEFAULT_SECONDS
                )


def _server(
    record: AttemptRecord,
    tenant: str,
    verifier: Verifier,
    calls: CallLimits,
    listener: Listener | None,
) -> Server:
    """What users, the controller and the ranks of an attempt call."""
    owner = Owner(tenant=tenant, job=record.job, attempt=record.attempt)
    control, ranks = TrainerService(record), RankService(record)
    return Server(
        Door(verifier, owner=owner),
        [
            (
                _NAMES["TrainerService"].full_name,
                lambda s: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(control, s),
            ),
            (
                _NAMES["RankService"].full_name,
                lambda s: trainer_pb2_grpc.add_RankServiceServicer_to_server(ranks, s),
            ),
        ],
        limits=calls,
        listener=listener,
    )
