"""Commands against a real controller, parameter service and replica."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jsonschema
import pytest
import yaml
from attempts import Attempt

from tessera.api.controller.v1 import attempt_pb2, job_pb2
from tessera.cli import watch as watch_command
from tessera.cli.chart import plot
from tessera.local import overview
from tessera.local.state import State
from tessera.spec import load
from tessera.trainer.control.attempt import AttemptRecord, AttemptStatus

pytestmark = pytest.mark.processes


@pytest.fixture
def running(on, client, platform, job_file):
    """Submits a job by the command line and lets it run; returns its id and its attempt."""

    def start(*options):
        name = f"set-{time.monotonic_ns()}"
        path = job_file(f"publish: {{set: {name}}}\nlabels: {{mine: {name}}}\n")
        done = on("submit", path, *options, "--output", "json")
        assert done.code == 0, done.err
        job = done.json["id"]
        platform.admit(job)
        return job, Attempt(platform, job)

    return start


def progress(step=5, **fields):
    return job_pb2.Progress(
        step=step, total_steps=10, loss=3.25, tokens_per_second=1234.5, phase="training", **fields
    )


FAILURE = job_pb2.Failure(
    category=job_pb2.FAILURE_CATEGORY_USER,
    reason="ENTRYPOINT_FAILED",
    message="ValueError: no such column\n",
    rank=1,
    traceback="Traceback (most recent call last):\n  boom\nValueError: no such column\n",
)


def test_dry_run_is_a_spec_with_every_default(on, job_file, tmp_path):
    done = on("submit", job_file("train: {steps: 20}"), "--set", "train.lr=1e-4", "--dry-run")
    assert done.code == 0, done.err
    path = tmp_path / "resolved.yaml"
    path.write_text(done.out)
    spec = load(path)
    assert (spec.train.steps, spec.train.lr, spec.train.batch_size) == (20, 1e-4, 8)
    as_json = on("submit", job_file(), "--dry-run", "--output", "json").json
    assert as_json["train"]["steps"] == 1000
    assert on("jobs", "--filter", "name=demo", "--output", "json").code == 0


def test_submit_says_what_comes_next(on, client, job_file):
    done = on("submit", job_file("publish: {set: text}"))
    assert done.code == 0
    job = done.out.split()[0]
    assert f"tessera watch {job}" in done.out
    assert client.jobs.get(job).spec.name == "demo"
    cancelled = on("cancel", job)
    assert (cancelled.code, cancelled.out.split()) == (0, [job, "CANCELLED"])


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


def test_local_files_start_from_the_folder_of_the_spec(on, client, tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "text.txt").write_text("hello")
    (folder / "job.yaml").write_text(
        "name: up\nmodel: {family: gpt}\ndata: {files: [text.txt]}\npublish: {set: inner}\n"
    )
    done = on("submit", str(folder / "job.yaml"), "--output", "json")
    assert done.json["spec"]["data"]["files"][0].endswith("/text.txt")
    client.jobs.cancel(done.json["id"])


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


def test_submit_and_watch(on, client, platform, job_file):
    results = []

    def drive():
        # Whatever goes wrong here must not leave the command waiting.
        end = time.monotonic() + 20
        while not (found := list(client.jobs.list("name=both"))):
            assert time.monotonic() < end
            time.sleep(0.05)
        platform.admit(found[0].id)
        Attempt(platform, found[0].id).finish(success=attempt_pb2.Success(version=1))

    thread = threading.Thread(target=drive)
    thread.start()
    results = on("submit", job_file("publish: {set: both}", name="both"), "--watch")
    thread.join()
    assert results.code == 0, results.err
    assert "(both)" in results.out


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


def test_logs(on, running):
    job, attempt = running()
    attempt.log("driver", "one", "two")
    attempt.log("rank-0", "hello")
    assert sorted(on("logs", job).out.splitlines()) == [
        "driver   | one",
        "driver   | two",
        "rank-0   | hello",
    ]
    assert on("logs", job, "--source", "driver", "--tail", "1").out == "two\n"
    assert {line["source"] for line in on("logs", job, "--output", "json").lines} == {
        "driver",
        "rank-0",
    }
    attempt.finish(success=attempt_pb2.Success(version=1))
    assert "hello" in on("logs", job, "-f").out


def test_metrics(on, running):
    job, attempt = running()
    assert "no such points yet" in on("metrics", job).out
    for step in (1, 2, 3):
        values = {"loss": 4.0 - step, "lr": 0.1}
        attempt.report(metric=job_pb2.MetricPoint(step=step, values=values))
    chart = on("metrics", job).out
    assert "· loss" in chart
    assert chart.count("·") == 4
    assert "3.000 │" in chart
    assert "· lr" in on("metrics", job, "--name", "lr").out
    points = on("metrics", job, "--output", "json").lines
    assert [point["values"]["loss"] for point in points] == [3.0, 2.0, 1.0]
    attempt.finish(success=attempt_pb2.Success(version=1))


def row(table: str, name: str) -> list[str]:
    """The cells of one line; other tests leave sets and models of theirs on the platform."""
    return next(cells for line in table.splitlines() if (cells := line.split())[:1] == [name])


def test_sets_versions_and_export(on, tiny, tmp_path):
    assert row(on("sets").out, "default/tiny")[1:4] == ["1", "7", "1"]
    known = {each["name"]: each for each in on("sets", "--output", "json").json}
    assert known["default/tiny"]["head"]["number"] == 1
    assert on("versions", "tiny").out.splitlines()[1].split()[:2] == ["1", "7"]
    assert on("versions", "tiny", "--output", "json").json[0]["labels"] == {"loss": "2"}
    done = on("export", "tiny@1", "out", "--output", "json")
    assert done.json["version"] == 1
    assert (tmp_path / "out" / "model.safetensors").exists()
    again = on("export", "tiny@1", "out")
    assert again.code == 2
    assert "--force" in again.err
    assert on("export", "tiny@1", "out", "--force").code == 0


def test_models_and_generate(on, served, monkeypatch):
    assert row(on("models").out, "tiny")[1:5] == ["tiny@1", "READY", "1/1", "1"]
    options = ("--max-tokens", "6", "--temperature", "0")
    done = on("generate", "tiny", "def add", *options)
    assert done.code == 0
    assert done.err.startswith("version 1 · ")
    assert "6 tokens" in done.err
    parts = on("generate", "tiny", "def add", *options, "--logprobs", "--output", "json").lines
    assert "".join(part["text"] for part in parts) == done.out.removesuffix("\n")
    assert sum(len(part["logprobs"]) for part in parts) == 6
    assert parts[-1]["version"] == 1
    assert len(on("generate", "tiny", "def add", *options, "--logprobs").err.splitlines()) == 7


def test_deploy_and_undeploy(on, tiny):
    made = on("deploy", "second", "--model", "tiny", "--cpus", "0.5", "--no-wait")
    assert made.code == 0
    assert made.out.split()[:3] == ["second", "PENDING", "tiny"]
    late = on("deploy", "second", "--model", "tiny", "--cpus", "0.5", "--timeout", "0")
    assert late.code == 1
    assert "not ready after 0 s" in late.err
    other = on("deploy", "second", "--model", "tiny@1")
    assert other.code == 2
    gone = on("undeploy", "second", "--output", "json")
    assert gone.json == {"name": "second", "deleting": False}
    assert on("deploy", "second", "--model", "tiny", "--no-wait").code == 0
    assert on("undeploy", "second", "--no-wait").out == "second is being ended\n"


def test_pools(on):
    assert on("pools").out == "no pools\n"
    assert on("pools", "--output", "json").json == []


def test_a_pool_is_added_and_moved(tessera, alone, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(alone.home))
    add = ("pools", "add", "far", "--dashboard", "http://127.0.0.1:9")
    done = tessera(*add, "--ray", "127.0.0.1:8", "--foreign", "CPU=2", "--foreign", "GPU=1")
    assert done.code == 0, done.err
    assert done.out.splitlines()[1].split()[:3] == ["far", "unseen", "http://127.0.0.1:9"]
    assert "does not answer" in done.out
    (listed,) = tessera("pools", "--output", "json").json
    assert (listed["ray_address"], listed["foreign"]) == ("127.0.0.1:8", {"CPU": 2, "GPU": 1})
    assert tessera(*add, "--ray", "127.0.0.1:7", "--output", "json").json["name"] == "far"
    (moved,) = tessera("pools", "--output", "json").json
    assert (moved["ray_address"], moved["foreign"]) == ("127.0.0.1:7", {})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Far!", "--dashboard", "http://x", "--ray", "x:1"], "pool.name"),
        (["far", "--dashboard", "", "--ray", "x:1"], "pool.dashboard_url"),
        (["far", "--dashboard", "http://x"], "--ray"),
        (["far", "--dashboard", "http://x", "--ray", "x:1", "--foreign", "CPU"], "`CPU` is not"),
        (["far", "--dashboard", "http://x", "--ray", "x:1", "--foreign", "A=-1"], "`A=-1` is not"),
    ],
)
def test_mistakes_about_pools_are_one_line(on, arguments, words):
    done = on("pools", "add", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert on("pools").out == "no pools\n"


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
    assert f"the driver of {job} does not answer" in away.err
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


def test_schema(tessera, job_file):
    schema = tessera("schema").json
    jsonschema.Draft202012Validator.check_schema(schema)
    with open(job_file()) as file:  # noqa: PTH123 - a text from the fixture
        jsonschema.validate(yaml.safe_load(file), schema)


TESSERA = Path(sys.executable).with_name("tessera")


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


def test_a_reader_that_goes_away(on):
    done = subprocess.run(
        f"{TESSERA} schema | head -c 10", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stdout == '{\n  "$sche'
    assert not done.stderr


def test_chart():
    assert plot({}) == []
    lines = plot({"a": [(0, 1.0), (10, 3.0)], "b": [(5, 2.0)]}, width=11, height=3)
    assert lines[0] == "   3.000 │          ·"
    assert lines[1] == "   2.000 │     o"
    assert lines[2] == "   1.000 │·"
    assert lines[-1].strip() == "· a   o b"
    flat = plot({"a": [(1, 2.0)]}, width=4, height=2)
    assert flat[1] == "   2.000 │·"


def test_dashboards(tessera, tmp_path):
    done = tessera("dashboards", "to")
    assert done.code == 0
    assert str(Path("to/dashboards/tessera.json")) in done.out.splitlines()
    assert (tmp_path / "to" / "grafana.ini").exists()
    assert "prometheus.yml" in done.err
    assert tessera("dashboards", "to", "--output", "json").json


def test_dashboards_in_a_file(tessera, tmp_path):
    (tmp_path / "to").write_text("")
    done = tessera("dashboards", "to")
    assert done.code == 2
    assert "name another folder" in done.err


def test_status_tells_what_shards_hold(platform, tiny):
    state = State(platform="tests", controller=platform.address)
    held = overview.workloads(state, platform.token)["shards"]
    assert [shard["name"] for shard in held] == ["shard-0", "shard-1"]
    assert sum(shard["disk_bytes"] for shard in held) >= sum(
        parameter.nbytes for parameter in tiny.module.parameters()
    )
    assert max(shard["versions"] for shard in held) >= 1
