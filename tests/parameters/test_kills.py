"""SIGKILL between all steps of the protocol: nothing committed is lost, nothing torn is read."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tessera import errors

pytestmark = pytest.mark.processes

SCRIPT = Path(__file__).with_name("node_process.py")


class Nodes:
    """A coordinator and two shards in processes of their own."""

    def __init__(self, platform, folder: Path) -> None:
        self._platform = platform
        self._folder = folder
        self._processes = {}
        for name in ("shard-0", "shard-1", "coordinator"):
            self.start(name)

    def wait(self) -> None:
        """Until all are registered."""
        for process in self._processes.values():
            assert process.stdout.readline() == "ready\n"

    def start(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, SCRIPT, name, self._platform.address, self._folder / name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        number = ("coordinator", "shard-0", "shard-1").index(name)
        process.stdin.write(self._platform.node_tokens()[number] + "\n")
        process.stdin.flush()
        self._processes[name] = process

    def kill(self, name: str) -> None:
        process = self._processes[name]
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def bounce(self, name: str) -> None:
        """SIGKILL and start again, without waiting: callers must bear with it."""
        self.kill(name)
        self.start(name)

    def stop(self) -> None:
        for name in self._processes:
            self.kill(name)


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
