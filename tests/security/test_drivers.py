"""A job's own code may listen where its driver should: what it hears there gives it nothing."""

from __future__ import annotations

import controllers
import grpc
import jwt
import pytest

from tessera import errors
from tessera.api.controller.v1 import attempt_pb2, job_pb2, registry_pb2
from tessera.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tessera.rpc.channel import mapped_errors
from tessera.rpc.identity import Verifier
from tessera.rpc.registration import build_version

WAIT = 10


class Listener(trainer_pb2_grpc.TrainerServiceServicer):
    """Answers as a driver would, and keeps what it is shown."""

    def __init__(self):
        self.shown = []

    def _keep(self, context):
        told = dict(context.invocation_metadata())
        self.shown.append(told["authorization"].removeprefix("Bearer "))

    async def GetStatus(self, _, context):
        self._keep(context)
        return trainer_pb2.GetStatusResponse(run=job_pb2.JobRun(step=3, ranks=["h:1"]))

    async def Checkpoint(self, _, context):
        self._keep(context)
        return trainer_pb2.CheckpointResponse(step=3)

    async def Stop(self, _, context):
        self._keep(context)
        return trainer_pb2.StopResponse()


@pytest.fixture
async def platform(tmp_path):
    running = await controllers.Running(home=tmp_path).open()
    yield running
    await running.close()


@pytest.fixture
async def listener():
    server, made = grpc.aio.server(), Listener()
    trainer_pb2_grpc.add_TrainerServiceServicer_to_server(made, server)
    made.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield made
    await server.stop(0)


@pytest.fixture
async def job(platform, listener):
    """A job that runs, with that as its driver."""
    found = (await platform.submit()).id
    await platform.admit(found)
    endpoint = registry_pb2.Endpoint(
        role=registry_pb2.ROLE_TRAINER,
        name=found,
        incarnation="i",
        control_address=f"127.0.0.1:{listener.port}",
        build=build_version(),
        labels={"attempt": "1"},
    )
    attempt = platform.attempt(found)
    await platform.registry.Register(
        registry_pb2.RegisterRequest(endpoint=endpoint), metadata=attempt, timeout=WAIT
    )
    ref = attempt_pb2.AttemptRef(job=found, attempt=1)
    report = attempt_pb2.Report(sequence=1, progress=job_pb2.Progress(step=1))
    await platform.attempts.ReportAttempt(
        attempt_pb2.ReportAttemptRequest(ref=ref, reports=[report]), metadata=attempt, timeout=WAIT
    )
    return found


async def test_what_it_is_shown_is_for_its_own_attempt_and_this_service(platform, listener, job):
    user = platform.user()
    run = job_pb2.GetJobRunRequest(name=job)
    assert (await platform.jobs.GetJobRun(run, metadata=user, timeout=WAIT)).run.step == 3
    asked = job_pb2.CheckpointJobRequest(name=job)
    await platform.jobs.CheckpointJob(asked, metadata=user, timeout=WAIT)
    await platform.runtime.drivers.stop(job, 1)
    assert len(listener.shown) == 3
    users = user[0][1].removeprefix("Bearer ")
    keys = platform.runtime.trust.keys.public
    for token in listener.shown:
        assert token != users
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["aud"] == ["trainer"]
        assert (claims["tenant"], claims["job"], claims["attempt"]) == ("default", job, 1)
        Verifier(keys, "trainer").verify(token)
        for service in ("controller", "parameters", "inference"):
            with pytest.raises(errors.UnauthenticatedError) as caught:
                Verifier(keys, service).verify(token)
            assert caught.value.reason == "TOKEN_AUDIENCE"


async def test_only_a_job_that_runs_is_asked_where_it_is(platform):
    waiting = (await platform.submit()).id
    for name, kind in ((waiting, errors.FailedPreconditionError), ("nope", errors.NotFoundError)):
        with pytest.raises(kind), mapped_errors():
            await platform.jobs.GetJobRun(
                job_pb2.GetJobRunRequest(name=name), metadata=platform.user(), timeout=WAIT
            )


async def test_another_tenants_job_is_not_there(platform, listener, job):
    with pytest.raises(errors.NotFoundError), mapped_errors():
        await platform.jobs.GetJobRun(
            job_pb2.GetJobRunRequest(name=job), metadata=platform.user(tenant="b"), timeout=WAIT
        )
    assert not listener.shown
