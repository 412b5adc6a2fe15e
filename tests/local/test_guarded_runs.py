"""A test run that is ended takes its Ray cluster, or its platform, with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from tessera.local.process import ProcessRef

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

HOLD = """
import os, pathlib, time
import pytest
from platforms import running

@pytest.mark.timeout(600)
def test_hold(ray_cluster, tmp_path):
    if os.environ["HOLD"] == "platform":
        with running(tmp_path):
            pathlib.Path(os.environ["READY"]).touch()
            time.sleep(600)
    pathlib.Path(os.environ["READY"]).touch()
    time.sleep(600)
"""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("held", "number", "options"),
    [("cluster", signal.SIGKILL, ("-n", "1")), ("platform", signal.SIGTERM, ())],
)
def test_a_test_run_that_holds_a_cluster(tmp_path, held, number, options):
    (tmp_path / "test_hold.py").write_text(HOLD)
    ready, mark = tmp_path / "ready", uuid.uuid4().hex
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "conftest",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    command += ["--rootdir", str(tmp_path), *options, str(tmp_path / "test_hold.py")]
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "tests" / "plugins")])
    env = {**os.environ, "PYTHONPATH": path, "HOLD": held, "READY": str(ready), "MARKED": mark}
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=out, stderr=out)
    deadline = time.monotonic() + 240
    while not ready.exists():
        assert process.poll() is None, (tmp_path / "out").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    refs = [ProcessRef.of(found.pid) for found in of_run(mark)]
    assert len(refs) > 8
    process.send_signal(number)
    process.wait()
    deadline = time.monotonic() + 60
    while any(ref.alive for ref in refs) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert of_run(mark) == []


def of_run(mark: str) -> list[psutil.Process]:
    """Processes with the mark, and all of the sessions that these lead."""
    marked, sessions = set(), set()
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARKED") == mark:
                marked.add(process.pid)
        except psutil.Error:
            continue
    for pid in psutil.pids():
        try:
            session = os.getsid(pid)
        except OSError:
            continue
        if session in marked:
            sessions.add(pid)
    return [psutil.Process(pid) for pid in marked | sessions if psutil.pid_exists(pid)]
