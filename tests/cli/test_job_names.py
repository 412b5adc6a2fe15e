"""Names of jobs wherever ids do, and --dry-run with and without a platform."""

from __future__ import annotations

import re

import pytest
from attempts import Attempt

from tessera import errors
from tessera.api.controller.v1 import attempt_pb2
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec, PublishSpec
from tessera.spec import load

pytestmark = pytest.mark.processes


@pytest.fixture
def submit(client):
    """Submits a job of a name; each writes a set of its own."""
    made = []

    def submit(name):
        spec = JobSpec(
            name=name,
            model=ModelSpec(family="gpt"),
            data=DataSpec(files=["stdlib://**/*.py"]),
            publish=PublishSpec(set=f"{name}-{len(made)}"),
        )
        made.append(client.jobs.create(spec).id)
        return made[-1]

    yield submit
    for job in made:
        client.jobs.cancel(job)


COMMANDS = {
    "job": ["job"],
    "job with its spec": ["job", "--spec"],
    "logs": ["logs"],
    "metrics": ["metrics"],
    "watch": ["watch"],
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_command_takes_a_name(kind, on, platform, submit):
    name = f"named-{kind.replace(' ', '-')}"
    old, new = submit(name), submit(name)
    for job in (old, new):
        platform.admit(job)
        attempt = Attempt(platform, job)
        attempt.log("driver", f"this is {job}")
        attempt.finish(success=attempt_pb2.Success(version=1))
    command, *options = COMMANDS[kind]
    by_name, by_id = on(command, name, *options), on(command, new, *options)
    assert by_name.code == by_id.code == 0, by_name.err
    assert at_any_time(by_name.out) == at_any_time(by_id.out)
    assert by_name.err == ""
    if kind == "logs":
        assert f"this is {new}" in by_name.out


def at_any_time(shown):
    """What was shown, whatever the clock said."""
    return re.sub(r"\d+ s ago", "… ago", shown)


def test_others_of_that_name_are_listed(on, submit):
    old, new = submit("open"), submit("open")
    done = on("job", "open")
    assert done.code == 0
    assert f"id         {new}" in done.out
    assert f"this is {new}, the newest job named `open`; not ended either: {old}" in done.err
    done = on("cancel", "open")
    assert done.code == 2
    assert f"2 jobs named `open` have not ended: {new}, {old}" in done.err
    assert on("cancel", new).code == 0
    # Now there is but one that a cancel can mean.
    cancelled = on("cancel", "open")
    assert (cancelled.code, cancelled.out.split()[0]) == (0, old)
    assert on("cancel", "open").code == 0


@pytest.mark.parametrize("command", ["job", "cancel", "logs", "metrics", "watch"])
@pytest.mark.parametrize("name", ["nobody", "Not a name!", "job-", "jobs/nobody"])
def test_names_of_no_job(command, name, on):
    done = on(command, name)
    assert done.code == 2
    assert f"there is no job `{name}`" in done.err
    assert len(done.err.splitlines()) == 1


def test_the_client_takes_names_too(client, submit):
    job = submit("mine")
    assert client.jobs.get("mine").id == client.jobs.get(f"jobs/{job}").id == job
    assert client.jobs.resolve("mine") == job
    assert client.jobs.unfinished("mine") == (job,)
    assert client.jobs.unfinished(job) == ()
    assert client.jobs.cancel("mine").id == job
    assert client.jobs.wait("mine").id == job
    assert list(client.jobs.logs("mine")) == []
    assert list(client.jobs.metrics("mine")) == []
    for call in (client.jobs.get, client.jobs.wait, client.jobs.cancel):
        with pytest.raises(errors.NotFoundError) as caught:
            call("nobody")
        assert caught.value.reason == "JOB_NOT_FOUND"


def test_dry_runs_need_no_platform(tessera, job_file, tmp_path):
    done = tessera("submit", job_file("resources: {workers: 2}"), "--dry-run")
    assert done.code == 0
    assert done.err == ""
    (tmp_path / "resolved.yaml").write_text(done.out)
    spec = load(tmp_path / "resolved.yaml")
    assert (spec.train.steps, spec.resources.workers) == (1000, 2)
    assert "# 2 workers of 1 CPU, in the queue default" in done.out
    assert "# no platform was asked: no platform runs in" in done.out
    as_json = tessera("submit", job_file(), "--dry-run", "--output", "json").json
    assert as_json["train"]["steps"] == 1000


def test_dry_runs_guess_no_rate_that_only_a_platform_knows(tessera, job_file, tmp_path):
    started = ("--set", "model.init={from: old@3}", "--dry-run")
    done = tessera("submit", job_file(), *started)
    (tmp_path / "resolved.yaml").write_text(done.out)
    assert not load(tmp_path / "resolved.yaml").train.HasField("lr")
    assert (
        "train.lr is open: it follows from the width of the version in model.init"
        in done.out.splitlines()[-1]
    )
    stated = tessera("submit", job_file("train: {lr: 0.5}"), *started)
    assert "lr: 0.5" in stated.out
    assert "train.lr" not in stated.out
    assert "lr" not in tessera("submit", job_file(), *started, "--output", "json").json["train"]


def test_dry_runs_survive_a_platform_that_does_not_answer(tessera, job_file):
    done = tessera("--address", "127.0.0.1:9", "submit", job_file(), "--dry-run")
    assert done.code == 0
    assert "# no platform was asked: no controller answers at 127.0.0.1:9" in done.out


def test_dry_runs_ask_a_platform_what_only_it_knows(on, platform, tiny, job_file):
    done = on("submit", job_file(), "--dry-run")
    assert f"# {platform.address} would take it" in done.out
    done = on("submit", job_file("queue: nowhere"), "--dry-run")
    assert done.code == 2
    assert "queue" in done.err
    done = on("submit", job_file(), "--set", "model.init={from: nothing@3}", "--dry-run")
    assert done.code == 2
    assert "nothing" in done.err


def test_local_files_are_told_of(tessera, tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nx,good\ny,bad\nz,good\n")
    (tmp_path / "job.yaml").write_text(
        "name: a\nmodel: {family: bert}\ntask: {kind: sentiment}\ndata: {files: [a.csv]}\n"
    )
    done = tessera("submit", "job.yaml", "--dry-run")
    assert "# 1 file to upload, 31 B together" in done.out
    assert "# 3 examples" in done.out
    assert "# classes: bad 1, good 2" in done.out
    done = tessera("submit", "job.yaml", "--dry-run", "--set", "data.columns.text=nothing")
    assert done.code == 2
    assert "there is no column `nothing`" in done.err
