"""Submit to first optimizer step: a job of Tessera's beside the same script under `ray job submit`.

Starts a platform of its own, then submits both in turn to its Ray cluster. Prints one JSON object
a line; the lines `startup_breakdown` say where Tessera's seconds go.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from tessera.api.controller.v1 import job_pb2, spec_pb2
from tessera.client import Client
from tessera.local import ray_api
from tessera.local.home import Home
from tessera.local.state import State

WORKERS = 2
SECONDS = 240.0
TESSERA = Path(sys.executable).with_name("tessera")
PEER = Path(__file__).parent / "peers" / "startup.py"
SPEC = {
    "name": "startup",
    "resources": {"workers": WORKERS},
    "model": {"family": "gpt", "layers": 2, "heads": 2, "width": 64, "context": 64},
    "tokenizer": {"vocab_size": 512},
    "data": {"files": ["stdlib://json/*.py"]},
    "train": {"steps": 2, "batch_size": 4, "log_every": 1, "eval_batches": 1},
    "publish": {"every": 0},
}


def ours(client: Client) -> dict[str, float]:
    """Seconds from submit to each stage of one job."""
    begin = time.time()
    job = client.jobs.create(json_format.ParseDict(SPEC, spec_pb2.JobSpec()))
    seconds: dict[str, float] = {}
    for update in client.jobs.watch(job.id):
        if update.WhichOneof("update") != "event":
            continue
        state = job_pb2.JobState.Name(update.event.state).removeprefix("JOB_STATE_").lower()
        seconds.setdefault(state, update.event.time.ToNanoseconds() / 1e9 - begin)
    if "succeeded" not in seconds:
        raise RuntimeError(f"{job.id} ended otherwise: {client.jobs.get(job.id).failure}")
    first = next(iter(client.jobs.metrics(job.id)))
    seconds["first step"] = first.time.ToNanoseconds() / 1e9 - begin
    return seconds


def peer(dashboard: str, token: Path, gcs: str, spec: Path, scratch: Path) -> float:
    """Seconds from submit to the first step of the plain script."""
    out = scratch / f"{time.time_ns()}.txt"
    command = f"{sys.executable} {PEER} --spec {spec} --workers {WORKERS} --out {out}"
    environment = {"RAY_ADDRESS": gcs, "OMP_NUM_THREADS": "1"}
    begin = time.time()
    body = {"entrypoint": command, "runtime_env": {"env_vars": environment}}
    job = ray_api.post(f"{dashboard}/api/jobs/", token, body)["submission_id"]
    while time.time() - begin < SECONDS:
        status = json.loads(ray_api.get(f"{dashboard}/api/jobs/{job}", token))["status"]
        if status == "SUCCEEDED":
            return float(out.read_text()) - begin
        if status in {"FAILED", "STOPPED"}:
            raise RuntimeError(ray_api.get(f"{dashboard}/api/jobs/{job}/logs", token).decode())
        time.sleep(0.5)
    raise TimeoutError(f"the peer took more than {SECONDS} s")


def say(metric: str, value: float, baseline: str = "", baseline_value: float = 0.0) -> None:
    """Print one result."""
    line: dict[str, Any] = {"bench": "startup", "metric": metric, "value": round(value, 3)}
    line["unit"] = "s"
    if baseline:
        ratio = round(value / baseline_value, 3)
        line |= {"baseline": baseline, "baseline_value": round(baseline_value, 3), "ratio": ratio}
    print(json.dumps(line), flush=True)


def measure(home: Home, rounds: int, scratch: Path) -> None:
    """Interleave the two and print medians."""
    state = State.load(home.state_path)
    if state is None:
        raise RuntimeError("the platform did not start")
    spec = scratch / "spec.json"
    mine: list[dict[str, float]] = []
    theirs: list[float] = []
    with Client(home=home.path) as client:
        resolved = client.jobs.validate(json_format.ParseDict(SPEC, spec_pb2.JobSpec()))
        spec.write_text(json_format.MessageToJson(resolved, preserving_proto_field_name=True))
        for turn in range(rounds + 1):
            theirs.append(
                peer(state.dashboard, home.ray_token_path, state.ray_address, spec, scratch)
            )
            mine.append(ours(client))
            print(f"round {turn}: {mine[-1]['first step']:.1f} s, peer {theirs[-1]:.1f} s",
                  file=sys.stderr)  # fmt: skip
    # The first round fills Ray's and the file system's caches.
    mine, theirs = mine[1:], theirs[1:]
    middle = {stage: statistics.median(one[stage] for one in mine) for stage in mine[0]}
    for stage, seconds in middle.items():
        if stage not in {"first step", "succeeded"}:
            say(f"breakdown: submit to {stage}", seconds)
    say("submit to first optimizer step", middle["first step"], "ray job submit of the same loop",
        statistics.median(theirs))  # fmt: skip


def main() -> None:
    """Read the arguments, start a platform, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as scratch:
        home = Home(Path(scratch) / "home")
        command = [str(TESSERA), "--home", str(home.path)]
        subprocess.run([*command, "up"], check=True, stdout=sys.stderr)
        try:
            measure(home, rounds, Path(scratch))
        finally:
            subprocess.run([*command, "down"], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
