"""Identity of processes, and how the members of a platform are found and ended."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from tessera.local.child import Child
from tessera.local.process import MARK, ProcessRef, end, kill_members, members

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [*SLEEP[:2], f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP[2]}"]
FAMILY = """
import subprocess, sys
command = [sys.executable, "-c", "import time; time.sleep(60)"]
child = subprocess.Popen(command, start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""
GRANDCHILD = [sys.executable, "-c", FAMILY]


@pytest.fixture
def spawn():
    started = []

    def run(command, **kwargs):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **kwargs)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_another_process_with_the_same_number_is_not_the_one(spawn):
    process, _ = spawn(SLEEP)
    ref = ProcessRef.of(process.pid)
    assert ref.alive
    recycled = dataclasses.replace(ref, started=ref.started - 100)
    assert recycled.find() is None
    process.kill()
    assert not ref.alive or process.wait() is not None
    assert not ref.alive


def test_a_corpse_is_not_alive(spawn):
    process, _ = spawn(SLEEP)
    ref = ProcessRef.of(process.pid)
    process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
    assert not ref.alive


def test_members_are_found_by_mark_though_they_left_the_session(spawn):
    mark = uuid.uuid4().hex
    process, grandchild = spawn(GRANDCHILD, env={**os.environ, MARK: mark}, start_new_session=True)
    assert {p.pid for p in members(mark)} == {process.pid, int(grandchild)}
    assert members(uuid.uuid4().hex) == []
    assert members("") == []


def test_members_are_found_by_session_without_a_mark(spawn):
    process, _ = spawn(SLEEP, start_new_session=True)
    leader = ProcessRef.of(process.pid)
    assert [p.pid for p in members("", [leader])] == [process.pid]
    other = dataclasses.replace(leader, started=leader.started + 100)
    assert members("", [other]) == []
    earlier = dataclasses.replace(leader, started=leader.started - 100)
    assert members("", [earlier]) == []


def test_kill_members_takes_all(spawn):
    mark = uuid.uuid4().hex
    _, grandchild = spawn(GRANDCHILD, env={**os.environ, MARK: mark}, start_new_session=True)
    assert kill_members(mark, [])
    assert members(mark) == []
    assert not psutil.pid_exists(int(grandchild)) or (
        psutil.Process(int(grandchild)).status() == psutil.STATUS_ZOMBIE
    )


def test_end_asks_before_it_kills(spawn):
    gentle, _ = spawn(SLEEP)
    stubborn, _ = spawn(STUBBORN)
    found = [psutil.Process(p.pid) for p in (gentle, stubborn)]
    assert end(found, grace=0.5) == 1
    assert not any(process.is_running() for process in found)


def test_a_child_is_watched_the_same_whoever_started_it(tmp_path):
    started = Child.start(SLEEP, os.environ, tmp_path / "log")
    adopted = Child(ref=started.ref)
    assert started.alive
    assert adopted.alive
    started.stop(grace=5)
    assert not started.alive
    assert not adopted.alive
    assert started.code == -signal.SIGTERM
    assert adopted.code is None
