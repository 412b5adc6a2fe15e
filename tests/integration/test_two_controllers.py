"""Two controller processes on one PostgreSQL: who leads is killed or stopped, the other goes on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import postgres_server
import pytest
import sqlalchemy as sa
from controllers import spec

from tessera import errors
from tessera.api.controller.v1 import job_pb2, job_pb2_grpc, registry_pb2, registry_pb2_grpc
from tessera.controller.keys import Keys
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.principal import Principal, Role

pytestmark = pytest.mark.processes

postgres = postgres_server.postgres
TAKEN_OVER = 15.0


@dataclass
class Process:
    """A controller of its own process."""

    process: subprocess.Popen
    log: Path
    home: Path

    @property
    def address(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            text = self.log.read_text()
            if found := re.search(r'"address": "(127[^"]+)"', text):
                return found.group(1)
            assert self.process.poll() is None, text
            time.sleep(0.1)
        raise AssertionError(text)

    @property
    def metadata(self):
        ada = Principal(subject="ada", role=Role.OPERATOR, tenant="default")
        return bearer(Keys(self.home / "keys").signer.issue(ada))

    def submit(self, name):
        with channel(self.address) as connection, mapped_errors():
            request = job_pb2.CreateJobRequest(spec=spec(name))
            stub = job_pb2_grpc.JobServiceStub(connection)
            return stub.CreateJob(request, metadata=self.metadata, timeout=20).job.id

    def jobs(self):
        with channel(self.address) as connection, mapped_errors():
            stub = job_pb2_grpc.JobServiceStub(connection)
            listed = stub.ListJobs(job_pb2.ListJobsRequest(), metadata=self.metadata, timeout=20)
            return {job.id for job in listed.jobs}

    def leads(self):
        """Whether it answers what only the leader knows; else it says who does."""
        with channel(self.address) as connection:
            stub = registry_pb2_grpc.RegistryServiceStub(connection)
            request = registry_pb2.ResolveRequest(role=registry_pb2.ROLE_SHARD)
            try:
                with mapped_errors():
                    stub.Resolve(request, metadata=self.metadata, timeout=20)
            except errors.UnavailableError as error:
                if error.reason in {"NOT_LEADER", "DATABASE_UNAVAILABLE"} and error.retry_after:
                    return False
                raise
            return True

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path):
    """Starts controllers that share a home."""
    made = []

    def one(url):
        log = tmp_path / f"{len(made)}.log"
        arguments = ["--listen", "127.0.0.1:0", "--home", tmp_path / "home", "--shards", "0"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tessera.controller", *arguments, "--database", url],
                stderr=file,
                env=os.environ,
            )
        made.append(Process(process=process, log=log, home=tmp_path / "home"))
        return made[-1]

    yield one
    for process in made:
        process.end()


def wait_for(condition, seconds=TAKEN_OVER):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(0.2)
    return time.monotonic() - begun


def token(url):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT token FROM leases")).scalar()
    engine.dispose()
    return found


def test_a_standby_takes_submissions_and_leads_when_the_leader_goes(start, postgres):
    url = postgres.migrated()
    a = start(url)
    assert a.address
    wait_for(a.leads)
    b = start(url)
    first, second = a.submit("one"), b.submit("two")
    assert not b.leads()
    assert a.jobs() == b.jobs() == {first, second}
    a.process.send_signal(signal.SIGTERM)
    assert a.process.wait(20) == 0
    assert wait_for(b.leads) < 5  # The lease was given back.
    assert token(url) == 2


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_is_killed_or_stopped_is_replaced_in_time(start, postgres, how):
    url = postgres.migrated()
    a = start(url)
    assert a.address
    wait_for(a.leads)
    b = start(url)
    assert not b.leads()
    a.process.send_signal(how)
    wait_for(b.leads)
    third = b.submit("three")
    if how is signal.SIGSTOP:
        a.process.send_signal(signal.SIGCONT)
        wait_for(lambda: not a.leads(), 5)
        assert token(url) == 2  # It has taken nothing back,
        assert a.jobs() == {third}  # and lives on as the standby:
        b.process.kill()
        wait_for(a.leads)


@pytest.mark.slow
def test_nobody_sees_an_internal_error_while_the_database_restarts(start, tmp_path):
    with postgres_server.server() as server:
        a = start(server.migrated())
        assert a.address
        wait_for(a.leads)
        made, refused = [], 0  # Any other error ends the test.
        server.stop()
        for number in range(40):
            if number == 20:
                server.start()
            try:
                made.append(a.submit(f"n{number}"))
            except errors.UnavailableError as error:
                refused += error.retry_after is not None
            time.sleep(0.1)
        assert refused >= 20
        assert len(made) + refused == 40
        assert made
        assert set(made) == a.jobs()
        wait_for(a.leads)
        a.end()
