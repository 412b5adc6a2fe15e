"""`tessera up` and `down` as commands: nothing is left behind, whenever they are cut short."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from platforms import TESSERA, Platform, kill, until

from tessera.local import ray_api
from tessera.local.process import members
from tessera.local.scratch import ray_dir
from tessera.local.state import State

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


@pytest.fixture
def platform(tmp_path):
    made = Platform(tmp_path)
    yield made
    made.down()
    assert mentions(str(tmp_path)) == []


def mentions(text: str) -> list[psutil.Process]:
    """Processes whose command line names a folder."""
    own = psutil.Process().pid
    return [
        p
        for p in psutil.process_iter(["cmdline"])
        if p.pid != own and text in " ".join(p.info["cmdline"] or [])
    ]


@pytest.fixture
def grafana():
    """URL of what says that it is a healthy Grafana, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"database": "ok"}')

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def up_at_once(platform, *options):
    """Both say that it is up; whoever was slower has followed the other."""
    command = [str(TESSERA), "--home", str(platform.home.path), "up", *options]
    together = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in together:
        message = process.communicate(timeout=200)[1]
        assert process.returncode == 0, message
    heads = [
        p
        for p in mentions("ray.scripts.scripts")
        if p.pid in {m.pid for m in members(platform.state.platform, platform.state.leaders)}
    ]
    assert len(heads) == 1


def test_a_life(platform, grafana):
    """Two `up` at once, another, the controller dies, the supervisor dies, down, again, purge."""
    charts = ("--prometheus", "http://127.0.0.1:9", "--grafana", grafana)
    shown = "https://grafana.example.com"
    up_at_once(platform, "--cpus", "9", *charts, "--grafana-iframe", shown)
    state = platform.state
    health = ray_api.get(f"{state.dashboard}/api/grafana_health", Path(state.ray_token_path))
    assert json.loads(health)["data"]["grafanaHost"] == shown
    again = platform.run("up")
    assert again.returncode == 0
    assert "already" in again.stderr
    assert platform.state == state

    kill(state.processes["controller"].pid)
    until(lambda: platform.state.processes["controller"] != state.processes["controller"], 20)
    assert platform.state.controller == state.controller

    kill(state.processes["supervisor"].pid)
    platform.up("--cpus", "9")
    taken = platform.state
    assert taken.processes["ray"] == state.processes["ray"], "what lives is taken over"
    assert taken.processes["supervisor"] != state.processes["supervisor"]

    assert platform.home.ray_path.samefile(ray_dir(Path(taken.ray_temp_dir)))
    kill(taken.processes["supervisor"].pid)
    platform.down()
    assert not platform.home.state_path.exists()
    assert not platform.home.ray_path.is_symlink()
    platform.down()
    platform.down("--purge")
    assert not platform.home.path.exists()


@pytest.mark.parametrize("seconds", [0.6, 1.5, 4.0, pytest.param(7.5, marks=pytest.mark.slow)])
def test_interrupted_while_starting(platform, seconds):
    command = [str(TESSERA), "--home", str(platform.home.path), "up"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 130, message
    assert "Traceback" not in message
    assert mentions(str(platform.folder)) == []
    assert not platform.home.is_locked


def test_a_supervisor_that_fails_says_which_log_and_its_last_lines(platform):
    done = platform.run(
        "up", "--ray-address", "127.0.0.1:1", "--dashboard", "http://127.0.0.1:1", check=False
    )
    assert done.returncode == 1
    first, *quoted, place = done.stderr.splitlines()
    assert first.startswith("tessera: no Ray dashboard answers at http://127.0.0.1:1")
    assert 0 <= len(quoted) <= 3
    assert all(line.startswith("  ") for line in quoted)
    log = place.removeprefix("  all of it: ").removeprefix("  (no log at ").rstrip(")")
    assert log.startswith(str(platform.home.path / "logs"))
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_all_of_it_killed_while_starting(platform):
    """SIGKILL of the command and of the supervisor: the next `up` ends what is left."""
    command = [str(TESSERA), "--home", str(platform.home.path), "up"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        state = until(lambda: State.load(platform.home.state_path), 60)
        state = until(lambda: found if (found := platform.state).processes.get("ray") else None, 60)
        process.kill()
    kill(state.processes["supervisor"].pid)
    platform.up()
    assert platform.state.platform != state.platform
    assert members(state.platform, [state.processes["ray"]]) == []


def test_attached_to_a_cluster_of_others(platform, ray_cluster):
    """It uses that cluster, and leaves it alive and clean."""
    arguments = ["--ray-address", ray_cluster.address, "--dashboard", ray_cluster.dashboard_url]
    platform.up(*arguments, "--ray-token", str(ray_cluster.token_path))
    assert "ray" not in platform.state.processes
    actors = [e for role in (1, 2) for e in platform.endpoints(role)]
    assert len(actors) == 3
    pids = [int(e.labels["pid"]) for e in actors]
    assert all(psutil.pid_exists(pid) for pid in pids)
    state = platform.state
    platform.down()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 15)
    assert members(state.platform, state.leaders) == []
    probe = subprocess.run(
        ["python", "-c", "import ray; ray.init(); print(ray.cluster_resources()['CPU'])"],
        env=ray_cluster.env,
        check=True,
        capture_output=True,
        text=True,
    )
    assert probe.stdout.strip() == "8.0"
