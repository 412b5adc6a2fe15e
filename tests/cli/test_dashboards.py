"""Dashboards are written out on the command line."""

from __future__ import annotations

from pathlib import Path


def test_dashboards(tessera, tmp_path):
    done = tessera("dashboards", "to")
    assert done.code == 0
    assert str(Path("to/dashboards/tessera.json")) in done.out.splitlines()
    assert (tmp_path / "to" / "grafana.ini").exists()
    assert "prometheus.yml" in done.err
    assert tessera("dashboards", "to", "--output", "json").json


def test_dashboards_in_a_file(tessera, tmp_path):
    (tmp_path / "to").write_text("")
    done = tessera("dashboards", "to")
    assert done.code == 2
    assert "name another folder" in done.err
