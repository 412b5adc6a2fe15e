"""A platform for a measurement: jobs that are submitted and waited for, and what they reached."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from tessera.api.controller.v1 import deployment_pb2, job_pb2, spec_pb2
from tessera.client import Client

TESSERA = Path(sys.executable).with_name("tessera")


@dataclass(frozen=True)
class Trained:
    """A job that succeeded: its set's name, last metrics by name, baseline loss and seconds."""

    name: str
    metrics: Mapping[str, float]
    baseline: float
    seconds: float


class Platform:
    """Trains and serves on this machine.

    Args:
        client: of a platform that runs.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def train(self, spec: Mapping[str, Any]) -> Trained:
        """Submit a job and wait; its progress goes to stderr."""
        begin = time.monotonic()
        message = json_format.ParseDict(dict(spec), spec_pb2.JobSpec())
        job = self.client.jobs.create(message)
        shown = 0.0
        for update in self.client.jobs.watch(job.id):
            if update.WhichOneof("update") == "progress" and time.monotonic() - shown > 20:
                shown, progress = time.monotonic(), update.progress
                say(f"{spec['name']}: step {progress.step}/{progress.total_steps},"
                    f" loss {progress.loss:.3f}, {progress.seconds_left:.0f} s left")  # fmt: skip
        done = self.client.jobs.get(job.id)
        if done.state != job_pb2.JOB_STATE_SUCCEEDED:
            raise SystemExit(f"{spec['name']} did not succeed: {done.failure.message}")
        metrics: dict[str, float] = {}
        for point in self.client.jobs.metrics(job.id):
            metrics.update(point.values)
        seconds = time.monotonic() - begin
        reached = [f"{k} {v:.4f}" for k, v in metrics.items() if k.startswith("held_out")]
        say(f"{spec['name']}: {seconds:.0f} s, {', '.join(reached)}")
        return Trained(done.spec.publish.set, metrics, done.progress.baseline_loss, seconds)

    @contextmanager
    def serving(self, name: str) -> Iterator[str]:
        """A deployment of a set's newest version, named like it."""
        spec = deployment_pb2.DeploymentSpec(name=name, model=name)
        self.client.deployments.create(spec)
        self.client.deployments.wait(name)
        try:
            yield name
        finally:
            self.client.deployments.delete(name)


@contextmanager
def platform() -> Iterator[Platform]:
    """A platform of its own, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="tessera-quality-") as folder:
        command = [str(TESSERA), "--home", f"{folder}/home"]
        subprocess.run([*command, "up"], check=True, stdout=sys.stderr)
        try:
            with Client(home=f"{folder}/home") as client:
                yield Platform(client)
        finally:
            subprocess.run([*command, "down"], check=True, stdout=sys.stderr)


def line(
    metric: str,
    values: Sequence[float],
    unit: str,
    baseline: str,
    baseline_values: Sequence[float],
    **more: Any,
) -> dict[str, Any]:
    """One result: the mean over seeds and their spread, beside what it is held against.

    Of `baseline_values` there is one; where the peer is trained too, one for each seed.
    """
    mean, peer = statistics.fmean(values), statistics.fmean(baseline_values)
    spreads = {"spread": values, "baseline_spread": baseline_values}
    return {
        "bench": "quality",
        "metric": metric,
        "value": round(mean, 4),
        "unit": unit,
        "baseline": baseline,
        "baseline_value": round(peer, 4),
        "ratio": round(mean / peer, 4),
        **{k: round(statistics.stdev(v), 4) for k, v in spreads.items() if len(v) > 1},
        "seeds": len(values),
        **more,
    }


def say(text: str) -> None:
    """To whoever looks on."""
    print(text, file=sys.stderr, flush=True)
