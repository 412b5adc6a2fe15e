"""However a run ends, nothing that it started goes on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tessera.local.process import ProcessRef

pytestmark = pytest.mark.processes

RUNNER = r"""
import os, subprocess, sys, time
from tessera.local.guard import Guard

guard = Guard.start()
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
# Like Ray: the leader of a session, below it one that has lost its mark.
leader = f'''
import os, signal, subprocess, sys, time
if {sys.argv[1] == "stubborn"}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen({sleep!r}, env={{"PATH": os.environ["PATH"]}})
print(child.pid, flush=True)
time.sleep(600)
'''
folder = sys.argv[2]
env = {**os.environ, "TMPDIR": f"{folder}/tmp"}
os.makedirs(env["TMPDIR"])
led = subprocess.Popen([sys.executable, "-c", leader], stdout=subprocess.PIPE, text=True,
                       start_new_session=True, env=env)
grandchild = int(led.stdout.readline())
forked = os.fork()
if forked == 0:
    os.setsid()
    time.sleep(600)
plain = subprocess.Popen(sleep)
time.sleep(3.0)  # The guard has looked once.
print(led.pid, grandchild, forked, plain.pid, guard.process.pid, flush=True)
if sys.argv[1] == "release":
    guard.release()
elif sys.argv[1] == "close":
    guard.close()
elif sys.argv[1] == "raise":
    raise SystemExit(3)
else:
    time.sleep(600)
"""


@pytest.fixture
def runner(tmp_path):
    program = tmp_path / "runner.py"
    program.write_text(RUNNER)
    started, refs = [], []
    folder = tmp_path / "tessera-test"

    def run(how, *above):
        command = [*above, sys.executable, str(program), how, str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        numbers = [int(word) for word in process.stdout.readline().split()]
        refs.extend(ProcessRef.of(number) for number in numbers if psutil.pid_exists(number))
        return process, refs

    run.folder = folder
    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    for ref in refs:
        if found := ref.find():
            found.kill()


def gone(refs, seconds=40.0):
    deadline = time.monotonic() + seconds
    while any(ref.alive for ref in refs) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [ref for ref in refs if ref.alive] == []


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("wait", signal.SIGKILL),
        ("wait", signal.SIGTERM),
        ("wait", signal.SIGINT),
        ("stubborn", signal.SIGKILL),
    ],
)
def test_a_signal(runner, how, number):
    process, refs = runner(how)
    assert len(refs) == 5
    assert all(ref.alive for ref in refs)
    process.send_signal(number)
    assert gone(refs)
    assert not runner.folder.exists()


@pytest.mark.parametrize("how", ["raise", "close"])
def test_its_own_end(runner, how):
    process, refs = runner(how)
    process.wait(60)
    assert gone(refs)


def test_released_it_all_goes_on(runner):
    process, refs = runner("release")
    assert process.wait(30) == 0
    time.sleep(1.0)
    *others, guard = refs
    assert all(ref.alive for ref in others)
    assert not guard.alive


def test_the_end_of_make(tmp_path):
    """SIGKILL of `make` alone: the recipe would go on for ever."""
    program = tmp_path / "runner.py"
    program.write_text(RUNNER)
    (tmp_path / "Makefile").write_text(
        f"hold:\n\t@X=1 {sys.executable} {program} wait {tmp_path / 'tessera-test'}\n"
    )
    make = shutil.which("make")
    assert make
    with subprocess.Popen(
        [make, "-C", str(tmp_path), "--no-print-directory", "hold"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        refs = [ProcessRef.of(int(word)) for word in process.stdout.readline().split()]
        below = [ProcessRef.of(child.pid) for child in psutil.Process(process.pid).children(True)]
        process.kill()
    assert gone([*refs, *below])
