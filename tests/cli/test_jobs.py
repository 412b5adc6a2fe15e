"""What the command line shows of jobs, and asks of those that run."""

from __future__ import annotations

import pytest

from tessera.api.controller.v1 import attempt_pb2, job_pb2
from tessera.trainer.control.attempt import AttemptRecord, AttemptStatus

from .reports import FAILURE, progress

pytestmark = pytest.mark.processes


def test_a_version_now_needs_a_run_and_its_driver(on, job_file, running):
    waits = on("submit", job_file("publish: {set: waits}"), "--output", "json").json["id"]
    refused = on("checkpoint", waits)
    assert (refused.code, refused.out) == (2, "")
    assert f"{waits} is QUEUED; only a job that is RUNNING" in refused.err
    on("cancel", waits)
    job, attempt = running()
    attempt.report(progress=progress())
    away = on("checkpoint", job)
    assert away.code == 1
    assert f"the driver of {job} has not registered yet" in away.err


def test_jobs_and_job(on, running):
    job, attempt = running()
    attempt.report(progress=progress(held_out_loss=3.5, baseline_loss=4.0))
    listed = on("jobs")
    row = next(line for line in listed.out.splitlines() if line.startswith(job))
    assert row.split()[1:6] == ["demo", "RUNNING", "5/10", "3.250", "3.500"]
    shown = on("job", job, "--spec")
    assert "state      RUNNING" in shown.out
    assert "held-out   3.5000  (baseline 4.000)" in shown.out
    assert "family: gpt" in shown.out
    as_json = on("job", job, "--output", "json").json
    assert (as_json["state"], as_json["progress"]["step"]) == ("JOB_STATE_RUNNING", 5)
    assert as_json["spec"]["retries"] == 2
    assert job in [item["id"] for item in on("jobs", "--output", "json").json]
    attempt.finish(failure=FAILURE)
    failed = on("job", job).out
    assert "ENTRYPOINT_FAILED on rank 1: ValueError: no such column" in failed
    assert "boom" in failed


def test_epochs_and_examples_are_shown(on, running):
    job, attempt = running()
    counted = {"examples": 1600, "held_out_examples": 84, "steps_per_epoch": 6.25}
    attempt.report(
        progress=progress(
            epoch=0.8, held_out_loss=3.5, baseline_loss=4.0, evaluated_examples=84, **counted
        )
    )
    shown = on("job", job).out
    assert "epoch      0.80 of 1.6" in shown
    assert "examples   1,600 to train on, 84 held out; 6.25 steps an epoch" in shown
    assert "held-out   3.5000 over 84 examples  (baseline 4.000)" in shown
    as_json = on("job", job, "--output", "json").json["progress"]
    assert as_json["steps_per_epoch"] == 6.25
    assert (as_json["epoch"], int(as_json["evaluated_examples"])) == (0.8, 84)
    attempt.finish(success=attempt_pb2.Success(version=2))
    assert "step 5/10  epoch 0.80  loss 3.250  held-out 3.500 (n=84)" in on("watch", job).out


def test_before_the_examples_are_counted_no_steps_are_shown(on, running):
    job, attempt = running()
    attempt.report(progress=job_pb2.Progress(phase="preparing"))
    row = next(line for line in on("jobs").out.splitlines() if line.startswith(job))
    assert "0/0" not in row
    shown = on("job", job).out
    assert not any(line.startswith(("step", "epoch", "examples")) for line in shown.splitlines())


def test_ranks_are_shown_while_a_job_runs(on, job_file, running, platform):
    waits = on("submit", job_file("publish: {set: unranked}"), "--output", "json").json["id"]
    refused = on("job", waits, "--ranks")
    assert (refused.code, refused.out) == (2, "")
    assert f"{waits} is QUEUED; only a job that runs has ranks" in refused.err
    on("cancel", waits)
    job, attempt = running()
    attempt.report(progress=progress())
    away = on("job", job, "--ranks")
    assert (away.code, away.out) == (1, "")
    assert f"the driver of {job} has not registered yet" in away.err
    record = AttemptRecord(job=job, attempt=1, total_steps=10, world_size=2)
    record.status = AttemptStatus(phase="training", step=5, version=1, version_step=4)
    record.ranks[1] = "node-b:42"
    with attempt.driver(record):
        lines = on("job", job, "--ranks").out.splitlines()
        told = on("job", job, "--ranks", "--output", "json").json
    assert lines == [
        "phase      training",
        "step       5/10",
        "version    1, of step 4",
        "rank 0     not there yet",
        "rank 1     node-b:42",
    ]
    assert (told["phase"], told["step"], told["ranks"]) == ("training", 5, ["", "node-b:42"])
