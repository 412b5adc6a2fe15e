"""The folder that Prometheus and Grafana are started on."""

from __future__ import annotations

import configparser
import itertools
import json
import re
from pathlib import Path

import pytest
import yaml

from tessera.local import monitoring
from tessera.local.board import board

DOCUMENT = Path(__file__).parents[2] / "docs" / "dashboard.md"
URL = "http://127.0.0.1:9090"


@pytest.fixture
def ray(tmp_path):
    """The folder of a cluster, as far as it matters here."""
    made = tmp_path / "ray" / "session_latest" / "metrics" / "grafana" / "dashboards"
    made.mkdir(parents=True)
    (made / "default.json").write_text('{"uid": "theirs"}')
    return tmp_path / "ray"


def test_everything_points_into_the_folder(tmp_path, ray):
    folder = tmp_path / "monitoring"
    written = monitoring.write(folder, URL, ray)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == set(written)
    ini = configparser.ConfigParser()
    ini.read(folder / "grafana.ini")
    provisioning = Path(ini["paths"]["provisioning"])
    assert ini["security"].getboolean("allow_embedding")
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert (source["name"], source["url"]) == ("Prometheus", URL)
    (provider,) = yaml.safe_load((provisioning / "dashboards/tessera.yaml").read_text())[
        "providers"
    ]
    boards = Path(provider["options"]["path"])
    assert json.loads((boards / "tessera.json").read_text()) == board()
    assert json.loads((boards / "ray_default.json").read_text()) == {"uid": "theirs"}


def test_what_is_scraped_is_a_name_and_no_pattern(tmp_path, ray):
    link = tmp_path / "a home [b]?"
    link.symlink_to(ray)
    monitoring.write(tmp_path / "to", URL, link)
    told = yaml.safe_load((tmp_path / "to" / "prometheus.yml").read_text())
    ((found,),) = [one["file_sd_configs"] for one in told["scrape_configs"]]
    nodes = "/a home \\[b]\\?/prom_metrics_service_discovery.json"
    assert found == {"files": [f"{tmp_path}{nodes}"], "refresh_interval": "5s"}


def test_without_a_cluster_there_is_the_board(tmp_path):
    written = monitoring.write(tmp_path, URL, None)
    assert "dashboards/tessera.json" in written
    assert "prometheus.yml" not in written


def test_again_replaces_its_own_files_and_no_others(tmp_path, ray):
    monitoring.write(tmp_path / "to", URL, ray)
    mine = tmp_path / "to" / "dashboards" / "mine.json"
    mine.write_text("{}")
    monitoring.write(tmp_path / "to", "http://other:9090", ray)
    assert mine.exists()
    source = tmp_path / "to" / "provisioning" / "datasources" / "prometheus.yaml"
    assert "http://other:9090" in source.read_text()


def test_panels_do_not_cover_one_another():
    places = [panel["gridPos"] for panel in board()["panels"]]
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_ids_are_unique():
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names)


def test_queries_use_variables_that_there_are():
    text = json.dumps(board())
    known = {variable["name"] for variable in board()["templating"]["list"]}
    assert known == {"datasource", "deployment"}
    assert "${datasource}" in text
    assert '$deployment\\"' in text


def test_the_document_names_what_the_board_shows():
    shown = set(re.findall(r"ray_(tessera_\w+)", json.dumps(board())))
    named = re.findall(r"(?m)^\| `(tessera_\w+)` \|", DOCUMENT.read_text())
    assert sorted(named) == sorted({name.removesuffix("_bucket") for name in shown})
