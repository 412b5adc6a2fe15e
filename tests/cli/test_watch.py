"""A job is watched until it ends, or until somebody stops watching."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tessera.api.controller.v1 import attempt_pb2, job_pb2
from tessera.cli import watch as watch_command

from .reports import FAILURE, progress

pytestmark = pytest.mark.processes

TESSERA = Path(sys.executable).with_name("tessera")


def test_watch_shows_progress_and_ends_well(on, running):
    job, attempt = running()
    attempt.report(
        progress=progress(
            held_out_loss=3.5, baseline_loss=4.0, version=2, metrics={"accuracy": 0.5}
        )
    )
    attempt.finish(success=attempt_pb2.Success(version=2))
    done = on("watch", job)
    assert done.code == 0, done.err
    figures = "loss 3.250  held-out 3.500  baseline 4.000  accuracy 0.500  1,234 tokens/s"
    assert f"step 5/10  {figures}  version 2" in done.out
    updates = on("watch", job, "--output", "json").lines
    assert updates[0]["event"]["sequence"] == 1
    assert updates[-1]["event"]["state"] == "JOB_STATE_SUCCEEDED"


def test_watch_of_a_job_that_fails(on, running):
    job, attempt = running()
    attempt.finish(failure=FAILURE)
    done = on("watch", job)
    assert done.code == 1
    assert done.err.splitlines()[-1] == (
        f"tessera: job {job} failed on rank 1: ENTRYPOINT_FAILED: ValueError: no such column"
    )
    assert "boom" in done.err


def test_watch_of_a_job_that_is_cancelled(on, client, job_file):
    job = on("submit", job_file("publish: {set: gone}"), "--output", "json").json["id"]
    client.jobs.cancel(job)
    done = on("watch", job)
    assert (done.code, done.err) == (1, f"tessera: job {job} was cancelled\n")


def test_interrupting_a_watch_leaves_the_job(on, running, client, monkeypatch):
    job, attempt = running()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch_command, "_plain", interrupted)
    done = on("watch", job)
    assert done.code == 130
    assert f"`tessera cancel {job}` ends it" in done.err
    assert client.jobs.get(job).state in {job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_STARTING}
    attempt.finish(success=attempt_pb2.Success(version=1))


def test_live_watch_draws(on, running, monkeypatch):
    job, attempt = running()
    attempt.report(progress=progress())
    attempt.finish(success=attempt_pb2.Success(version=2))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    done = on("watch", job)
    assert done.code == 0, done.err
    assert "loss 3.250" in done.out


def test_ctrl_c_ends_only_the_watching(on, running, client):
    job, attempt = running()
    attempt.report(progress=progress())
    child = subprocess.Popen(
        [TESSERA, "watch", job], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("tessera: the job goes on")
    assert client.jobs.get(job).state == job_pb2.JOB_STATE_RUNNING
    attempt.finish(success=attempt_pb2.Success(version=1))
