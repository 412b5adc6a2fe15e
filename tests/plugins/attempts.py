"""An attempt of a job, without a trainer."""

from __future__ import annotations

import contextlib

from tessera.api.controller.v1 import attempt_pb2 as pb
from tessera.api.controller.v1 import registry_pb2
from tessera.api.controller.v1.attempt_pb2_grpc import AttemptServiceStub
from tessera.api.trainer.v1 import trainer_pb2
from tessera.api.trainer.v1.trainer_pb2_grpc import add_TrainerServiceServicer_to_server
from tessera.rpc.channel import bearer, channel
from tessera.rpc.door import Door
from tessera.rpc.policy.rule import Owner
from tessera.rpc.registration import Registration, fetch_verifier
from tessera.rpc.server import Server
from tessera.trainer.control.service import TrainerService

TRAINER = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name


class Attempt:
    """What a driver says about attempt 1 of a job."""

    def __init__(self, platform, job: str) -> None:
        self._token = platform.attempt_token(job)
        self._metadata = bearer(self._token)
        self._channel = channel(platform.address)
        self._stub = AttemptServiceStub(self._channel)
        self._platform = platform
        self._ref = pb.AttemptRef(job=job, attempt=1)
        self._sequence = 0
        self._lines = {}

    def _call(self, method, request):
        return method(request, metadata=self._metadata, timeout=10, wait_for_ready=True)

    def report(self, **content) -> None:
        self._sequence += 1
        report = pb.Report(sequence=self._sequence, **content)
        request = pb.ReportAttemptRequest(ref=self._ref, reports=[report])
        self._call(self._stub.ReportAttempt, request)

    def log(self, source: str, *lines: str) -> None:
        first = self._lines.get(source, 0) + 1
        request = pb.AppendLogsRequest(ref=self._ref, source=source, first_line=first, lines=lines)
        self._lines[source] = self._call(self._stub.AppendLogs, request).lines

    def finish(self, **outcome) -> None:
        request = pb.FinishAttemptRequest(ref=self._ref, **outcome)
        self._call(self._stub.FinishAttempt, request)
        self._platform.release(self._ref.job)

    @contextlib.contextmanager
    def driver(self, record):
        """Its driver, which steers nothing but tells what is in the record."""
        verifier = fetch_verifier(self._platform.address)

        def register(server):
            add_TrainerServiceServicer_to_server(TrainerService(record), server)

        async def start():
            server = Server(
                Door(verifier, owner=Owner(tenant="default", job=self._ref.job, attempt=1)),
                [(TRAINER, register)],
            )
            endpoint = registry_pb2.Endpoint(
                role=registry_pb2.ROLE_TRAINER,
                name=self._ref.job,
                incarnation="1",
                control_address=f"127.0.0.1:{await server.start()}",
                labels={"attempt": "1"},
            )
            registration = Registration(self._platform.address, self._token, endpoint)
            await registration.start()
            return server, registration

        server, registration = self._platform.run(start())
        try:
            yield
        finally:
            self._platform.run(registration.stop())
            self._platform.run(server.drain(grace=1.0))
