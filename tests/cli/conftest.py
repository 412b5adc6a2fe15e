"""The platform of the client's tests, and the command line run inside this process."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import published
import pytest
from attempts import Attempt
from in_process import InProcessPlatform

from tessera.cli.app import run

platform, parameters, tiny = published.platform, published.parameters, published.tiny
served, zoo, client = published.served, published.zoo, published.client


@dataclass
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def tessera(capfd, monkeypatch, tmp_path):
    """Runs a command line in an empty folder, without a platform."""
    for name in ("TESSERA_HOME", "TESSERA_ADDRESS", "TESSERA_TOKEN", "TESSERA_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "no-home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        capfd.readouterr()
        code = run(arguments)
        return Result(code, *capfd.readouterr())

    return call


@pytest.fixture
def on(tessera, platform, monkeypatch):
    """Runs a command line against the platform."""
    monkeypatch.setenv("TESSERA_HOME", str(platform.home))
    return tessera


@pytest.fixture
def alone(tmp_path):
    """A platform of one test's own."""
    with InProcessPlatform(tmp_path) as running:
        yield running


@pytest.fixture
def job_file(tmp_path):
    """Writes a spec; fields replace or add to a short valid one."""

    def write(text: str = "", name: str = "demo") -> str:
        path = tmp_path / "job.yaml"
        path.write_text(
            f"name: {name}\nmodel: {{family: gpt}}\ndata: {{files: ['stdlib://**/*.py']}}\n{text}"
        )
        return str(path)

    return write


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
