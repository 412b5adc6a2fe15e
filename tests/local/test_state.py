"""state.json: written whole, read back, never trusted blindly."""

from __future__ import annotations

import json
import os
import stat

import pytest

from tessera.local.process import ProcessRef
from tessera.local.state import RUNNING, State


def test_round_trip_and_the_keys_that_others_read(tmp_path):
    own = ProcessRef.of(os.getpid())
    state = State(
        platform="p1",
        phase=RUNNING,
        controller="127.0.0.1:1",
        dashboard="http://127.0.0.1:2",
        ray_address="127.0.0.1:3",
        metrics="http://127.0.0.1:4/metrics",
        ray_temp_dir="/tmp/tessera-x",
        shards=2,
        processes={"supervisor": own, "ray": ProcessRef(pid=7, started=1.5)},
    )
    path = tmp_path / "state.json"
    state.save(path)
    assert State.load(path) == state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = json.loads(path.read_text())
    assert values["supervisor_pid"] == own.pid
    assert values["pids"] == {"supervisor": own.pid, "ray": 7}
    assert {"controller", "dashboard", "ray_address", "metrics", "started"} <= set(values)
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pids": {"a": 1}, "pid_started": {}}'])
def test_what_is_damaged_counts_as_absent(tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    assert State.load(tmp_path / "state.json") is None


def test_attached_means_no_ray_of_our_own():
    assert State(platform="p", ray_address="h:1").attached
    assert not State(platform="p", ray_address="h:1", ray_temp_dir="/tmp/x").attached
    assert not State(platform="p").attached
