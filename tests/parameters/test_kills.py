"""SIGKILL between all steps of the protocol: nothing committed is lost, nothing torn is read."""

from __future__ import annotations

import threading
import time

import pytest
from parameter_nodes import Nodes

from tessera import errors

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def nodes(platform, tmp_path_factory):
    nodes = Nodes(platform, tmp_path_factory.mktemp("nodes"))
    try:
        nodes.wait()
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def job(nodes, another, request):
    writer = another(f"s{abs(hash(request.node.name))}", patience=60)
    writer.publish(1)
    return writer


def finish(writer, opened, seed):
    """Seal and commit, pushing again what a killed shard forgot: what a trainer does."""
    for _ in range(3):
        try:
            writer.client.seal_version(opened)
            break
        except errors.FailedPreconditionError as error:
            if error.reason != "INCOMPLETE":
                raise
            writer.push(opened, writer.content(seed))
    return writer.client.commit_version(opened)


@pytest.mark.parametrize("victim", ["shard-0", "coordinator"])
@pytest.mark.parametrize("step", ["open", "push", "seal", "commit"])
def test_a_kill_after_each_step(nodes, job, victim, step):
    def reached(name):
        if name == step:
            nodes.bounce(victim)
            assert job.check(1) == 1

    opened = job.open(2)
    reached("open")
    job.push(opened, job.content(2))
    reached("push")
    if step == "seal":
        job.client.seal_version(opened)
        reached("seal")
    version = finish(job, opened, 2)
    reached("commit")
    assert version.number == opened.number == 2
    assert job.check(1) == 1
    assert job.check() == 2
    assert job.publish(3).number == 3


def test_kills_in_the_midst_of_everything(nodes, job):
    """Shards and coordinator die at random moments while versions are written and read."""
    stop = threading.Event()
    failures = []

    def read():
        while not stop.is_set():
            try:
                job.check()
            except errors.NotFoundError as error:
                # The version was dropped between its manifest and its bytes: ask again.
                if error.reason not in {"PIECE_NOT_FOUND", "VERSION_DROPPED"}:
                    failures.append(error)
            except Exception as error:  # noqa: BLE001 - the test fails with it
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()

    def destroy():
        for name in ("shard-0", "coordinator", "shard-1"):
            time.sleep(0.7)
            nodes.bounce(name)

    killer = threading.Thread(target=destroy)
    killer.start()
    last, seed = 1, 1
    while killer.is_alive() or seed < 5:
        seed += 1
        opened = job.open(seed)
        job.push(opened, job.content(seed))
        number = finish(job, opened, seed).number
        assert number > last
        last = number
    killer.join()
    stop.set()
    reader.join()
    assert not failures
    assert job.check() == seed
