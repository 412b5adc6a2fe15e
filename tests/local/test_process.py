"""Identity of processes, and how the members of a platform are found and ended."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from tessera.local.child import Child
from tessera.local.process import MARK, ProcessRef, end, kill_members, members

pytestmark = pytest.mark.processes

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
    # Nobody has waited for them: they are corpses, and no reason to wait any longer.
    assert [process.status() for process in found] == [psutil.STATUS_ZOMBIE] * 2


def test_a_child_is_watched_the_same_whoever_started_it(tmp_path):
    started = Child.start(SLEEP[1:], os.environ, tmp_path / "log", tmp_path)
    adopted = Child(ref=started.ref)
    assert started.alive
    assert adopted.alive
    started.stop(grace=5)
    assert not started.alive
    assert not adopted.alive
    assert started.code == -signal.SIGTERM
    assert adopted.code is None


def test_a_start_is_known_whatever_the_clock_says(spawn, monkeypatch):
    """The clock of the machine is set: what was written down before still names the process."""
    process, _ = spawn(SLEEP)
    ref = ProcessRef.of(process.pid)
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 3600)
    assert ref.alive
    assert ProcessRef.of(process.pid) == ref


def test_after_a_reboot_nothing_written_before_lives(spawn):
    process, _ = spawn(SLEEP, start_new_session=True)
    ref = ProcessRef.of(process.pid)
    earlier = dataclasses.replace(ref, boot="another run of the kernel")
    assert earlier.find() is None
    assert members("", [earlier]) == []
    assert [p.pid for p in members("", [ref])] == [process.pid]


def test_what_is_started_is_private_and_hermetic(tmp_path):
    program = (
        "import json, os, sys; m = os.umask(0); open('made', 'w').close()\n"
        "print(json.dumps([m, os.getcwd(), sys.flags.safe_path, sys.flags.utf8_mode]), flush=True)"
    )
    (tmp_path / "json.py").write_text("raise SystemExit('in the way')")
    before = os.umask(0)
    try:
        child = Child.start(["-c", program], os.environ, tmp_path / "log", tmp_path)
        child.popen.wait(20)
    finally:
        os.umask(before)
    assert json.loads((tmp_path / "log").read_text()) == [0o077, str(tmp_path), True, 1]
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
