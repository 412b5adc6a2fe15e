"""Jobs are submitted on the command line."""

from __future__ import annotations

import threading
import time

import pytest
from attempts import Attempt

from tessera.api.controller.v1 import attempt_pb2
from tessera.spec import load

pytestmark = pytest.mark.processes


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
