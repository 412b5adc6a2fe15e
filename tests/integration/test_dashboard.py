"""What Ray's dashboard and its Prometheus endpoint show of the platform."""

from __future__ import annotations

import getpass
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from platforms import until

from tessera.client import Client
from tessera.local import ray_api
from tessera.local.board import board

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
    assert found["metadata"].pop("TESSERA_TICKETS")
    assert found["metadata"] == {
        "job_name": "tiny",
        "owner": getpass.getuser(),
        "tenant": "default",
        "job": trained,
        "attempt": "1",
    }
    assert found["status"] == "SUCCEEDED"
    assert "TICKET" not in json.dumps(found["runtime_env"])


def test_every_submission_has_a_name_and_an_owner(dashboard):
    metadata = [job["metadata"] for job in dashboard("/api/jobs/") if job["submission_id"]]
    assert {"tiny", "parameters", "inference-default.tiny"} <= {
        found["job_name"] for found in metadata
    }
    assert all(found["owner"] and found["tenant"] for found in metadata)


def test_the_run_is_there(dashboard, trained):
    runs = {run["name"]: run for run in dashboard("/api/train/v2/runs/v1")["train_runs"]}
    assert runs[f"{trained}-1"]["status"] == "FINISHED"


@pytest.fixture
def actors(dashboard):
    """Those that live, by name."""
    found = dashboard("/api/v0/actors?detail=1&limit=1000")["data"]["result"]["result"]
    alive = [actor for actor in found if actor["state"] == "ALIVE"]
    # The last part of a replica's name, its generation, is made up anew each time.
    return {re.sub(r"(tessera-replica/.*)/\w+", r"\1", a["name"]): a for a in alive}


def test_actors_bear_readable_names_and_say_what_they_are(actors):
    said = {
        "tessera-coordinator": r"coordinator: 2 shards, at [\d.]+:\d+",
        "tessera-shard-0": r"shard-0: began with nothing, at [\d.]+:\d+",
        "tessera-shard-1": r"shard-1: began with nothing, at [\d.]+:\d+",
        "tessera-replica/default/tiny/0": (
            r"replica default/tiny/0: the newest version of default/tiny, at [\d.]+:\d+"
        ),
    }
    for name, pattern in said.items():
        assert re.fullmatch(pattern, actors[name]["repr_name"]), actors[name]["repr_name"]


def test_commands_name_the_pages(platform, actors, trained, deployed):
    root = f"{platform.state.dashboard}/#"
    assert f"{root}/jobs/{trained}-1\n" in platform.run("job", trained).stdout
    pages = {name: f"{root}/actors/{actor['actor_id']}" for name, actor in actors.items()}
    models = platform.run("models").stdout
    (line,) = [line for line in models.splitlines() if line.startswith(deployed)]
    assert pages[f"tessera-replica/default/{deployed}/0"] in line
    status = platform.run("status")
    for name in ("coordinator", "shard-0", "shard-1", f"replica/default/{deployed}/0"):
        assert pages[f"tessera-{name}"] in status.stdout


def test_pages_do_not_ask_for_grafana_where_there_is_none(dashboard):
    assert dashboard("/api/grafana_health")["msg"] == "Grafana disabled"


def test_metrics_of_the_platform_are_in_rays_endpoint(platform, deployed):
    def look() -> set[str]:
        text = ray_api.get(platform.state.metrics, None).decode()
        names = set(re.findall(r"^(ray_tessera_\w+)", text, re.MULTILINE))
        parts = {name.removeprefix("ray_tessera_").split("_")[0] for name in names}
        return names if len(parts) >= 2 else set()

    assert until(look, 40, lambda: ray_api.get(platform.state.metrics, None).decode()[:3000])


def test_the_board_shows_what_is_exported(platform, deployed):
    """A counter is there once it has counted, a gauge for as long as it is set."""
    with Client(home=platform.home.path) as client:
        assert list(client.generate(deployed, "def ", max_tokens=4))
    named = {
        name
        for panel in board()["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bray_\w+", target["expr"])
    }
    assert len(named) >= 10

    def missing() -> set[str]:
        text = ray_api.get(platform.state.metrics, None).decode()
        return named - set(re.findall(r"^(\w+)\{", text, re.MULTILINE))

    assert until(lambda: not missing(), 40, lambda: str(missing()))


def test_a_folder_for_prometheus_and_grafana(platform, tmp_path):
    platform.run("dashboards", str(tmp_path / "monitoring"))
    folder = tmp_path / "monitoring"
    scraped = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    ((nodes,),) = (found["files"] for found in scraped[0]["file_sd_configs"])
    nodes = re.sub(r"\\(.)", r"\1", nodes)  # Prometheus takes it for a pattern.
    targets = [
        target for group in json.loads(Path(nodes).read_text()) for target in group["targets"]
    ]
    assert platform.state.metrics in {f"http://{target}/metrics" for target in targets}
    boards = {json.loads(path.read_text())["uid"] for path in (folder / "dashboards").iterdir()}
    assert {"tessera", "rayDefaultDashboard"} <= boards
