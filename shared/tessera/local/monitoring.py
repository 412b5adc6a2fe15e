"""A folder that Prometheus and Grafana can be started on: what to scrape, and boards.

prometheus.yml                     scrapes every node of the Ray cluster
grafana.ini                        provisioned from here; may be shown inside Ray's dashboard
provisioning/datasources/*.yaml    Prometheus
provisioning/dashboards/*.yaml     the folder below
dashboards/*.json                  the platform's board, and those that Ray has made
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tessera.local import board

SOURCE = "Prometheus"
"""What Ray's dashboard expects the data source to be called."""

_SECONDS = 5
_INI = """\
# Ray's dashboard shows Grafana's panels in frames, and whoever sees it is not logged in here.
[security]
allow_embedding = true

[auth.anonymous]
enabled = true
org_role = Viewer

[paths]
provisioning = {provisioning}
"""


def write(folder: Path, prometheus: str, ray: Path | None) -> list[str]:
    """Write the folder; files that are there are replaced, others stay.

    Args:
        folder: made if need be.
        prometheus: its URL, for Grafana.
        ray: leads to the folder of a local platform's cluster, also to that of the next one; None:
            neither what to scrape nor Ray's boards are known.

    Returns:
        Names of the files, relative to the folder.
    """
    folder = folder.resolve()
    boards = folder / "dashboards"
    texts = {
        "grafana.ini": _INI.format(provisioning=folder / "provisioning"),
        "provisioning/datasources/prometheus.yaml": yaml.safe_dump(_source(prometheus)),
        "provisioning/dashboards/tessera.yaml": yaml.safe_dump(_provider(boards)),
        "dashboards/tessera.json": json.dumps(board.board(), indent=1) + "\n",
    }
    if ray is not None:
        texts["prometheus.yml"] = yaml.safe_dump(_scraping(ray))
        made = ray / "session_latest" / "metrics" / "grafana" / "dashboards"
        for path in sorted(made.glob("*.json")):
            texts[f"dashboards/ray_{path.name}"] = path.read_text()
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return sorted(texts)


def _scraping(ray: Path) -> dict[str, Any]:
    """Ray writes the address of each of its nodes into one file, and keeps it up to date.

    Prometheus takes the name for a pattern, and is told of changes behind a link by looking again.
    """
    nodes = re.sub(r"([*?\[\\])", r"\\\1", str(ray / "prom_metrics_service_discovery.json"))
    discovery = {"files": [nodes], "refresh_interval": f"{_SECONDS}s"}
    return {
        "global": {"scrape_interval": f"{_SECONDS}s", "evaluation_interval": f"{_SECONDS}s"},
        "scrape_configs": [{"job_name": "ray", "file_sd_configs": [discovery]}],
    }


def _source(url: str) -> dict[str, Any]:
    source = {"name": SOURCE, "uid": SOURCE, "type": "prometheus", "access": "proxy"}
    return {"apiVersion": 1, "datasources": [{**source, "url": url, "isDefault": True}]}


def _provider(boards: Path) -> dict[str, Any]:
    provider = {"name": "tessera", "folder": "Tessera", "type": "file"}
    return {"apiVersion": 1, "providers": [{**provider, "options": {"path": str(boards)}}]}
