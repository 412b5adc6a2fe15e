"""What Ray's dashboard and its Prometheus endpoint show of the platform."""

from __future__ import annotations

import getpass
import json
import re
from pathlib import Path
from typing import Any

import pytest
from platforms import until

from tessera.local import ray_api

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def dashboard(platform, deployed):
    def get(path: str) -> Any:
        url = f"{platform.state.dashboard}{path}"
        return json.loads(ray_api.get(url, Path(platform.state.ray_token_path)))

    return get


def test_the_job_is_there_with_its_name_and_owner(dashboard, trained):
    jobs = {job["submission_id"]: job for job in dashboard("/api/jobs/")}
    found = jobs[f"{trained}-1"]
    assert found["metadata"]["name"] == "tiny"
    assert found["metadata"]["owner"] == getpass.getuser()
    assert found["status"] == "SUCCEEDED"
    assert "--ticket" not in json.dumps(found["runtime_env"])


def test_the_run_is_there(dashboard, trained):
    runs = {run["name"]: run for run in dashboard("/api/train/v2/runs/v1")["train_runs"]}
    assert runs[f"{trained}-1"]["status"] == "FINISHED"


def test_actors_bear_readable_names(dashboard):
    actors = dashboard("/api/v0/actors?detail=1&limit=1000")["data"]["result"]["result"]
    alive = {actor["name"] for actor in actors if actor["state"] == "ALIVE"}
    assert {
        "tessera-coordinator",
        "tessera-shard-0",
        "tessera-shard-1",
        "tessera-replica-tiny-0",
    } <= alive


def test_metrics_of_the_platform_are_in_rays_endpoint(platform, deployed):
    def look() -> set[str]:
        text = ray_api.get(platform.state.metrics, None).decode()
        names = set(re.findall(r"^(ray_tessera_\w+)", text, re.MULTILINE))
        parts = {name.removeprefix("ray_tessera_").split("_")[0] for name in names}
        return names if len(parts) >= 2 else set()

    assert until(look, 40, lambda: ray_api.get(platform.state.metrics, None).decode()[:3000])
