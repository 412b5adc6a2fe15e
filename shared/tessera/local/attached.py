"""Leaving a Ray cluster that is somebody else's: our jobs and standing actors end, nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tessera.environment import FIXED
from tessera.local import ray_api

_SECONDS = 60.0
_ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}
_PROGRAM = """\
import ray
ray.init(namespace="tessera", logging_level="ERROR")
for found in ray.util.list_named_actors(all_namespaces=True):
    if found["namespace"] == "tessera" and found["name"].startswith("tessera-"):
        ray.kill(ray.get_actor(found["name"], namespace="tessera"), no_restart=True)
"""


def leave(dashboard: str, ray_address: str, token_path: Path | None) -> None:
    """Stop the platform's jobs and kill its detached actors.

    Raises:
        OSError: the cluster does not answer.
        TimeoutError: it did not finish in a minute.
    """
    jobs = json.loads(ray_api.get(f"{dashboard}/api/jobs/", token_path))
    for job in jobs:
        ours = "job" in (job.get("metadata") or {}) and "owner" in job["metadata"]
        if ours and job["status"] not in _ENDED:
            ray_api.post(f"{dashboard}/api/jobs/{job['submission_id']}/stop", token_path, {})
    body = {
        "entrypoint": f"python -P -c '{_PROGRAM}'",
        "runtime_env": {"env_vars": {**FIXED, "RAY_ADDRESS": ray_address}},
        "metadata": {"job_name": "tessera-down"},
    }
    submitted = ray_api.post(f"{dashboard}/api/jobs/", token_path, body)["submission_id"]
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        found = json.loads(ray_api.get(f"{dashboard}/api/jobs/{submitted}", token_path))
        if found["status"] in _ENDED:
            return
        time.sleep(0.5)
    raise TimeoutError(f"the Ray job {submitted} did not end in {_SECONDS:.0f} s")
