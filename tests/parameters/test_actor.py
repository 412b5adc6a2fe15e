"""The service as Ray actors: ensured twice, killed, and back with everything."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from tessera.api.controller.v1 import registry_pb2
from tessera.detached_actor import NAMESPACE
from tessera.local import ray_api
from tessera.parameters.actor import COORDINATOR
from tessera.rpc.principal import Role
from tessera.weights.directory import find

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


ROLES = (Role.COORDINATOR, Role.SHARD, Role.SHARD)


def ensure(platform, cluster, folder) -> list[str]:
    """Run the job that makes sure that the actors exist; returns the addresses it prints."""
    env = {**os.environ, **cluster.env, **platform.tickets(*ROLES)}
    command = [sys.executable, "-m", "tessera.parameters", "--controller", platform.address]
    command += ["--shards", "2", "--data-dir", str(folder)]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def endpoint(platform, role, name):
    return find(platform.address, platform.token, role, name)


def kill(platform, role, name) -> None:
    """SIGKILL, and wait until its next life has registered."""
    old = endpoint(platform, role, name)
    os.kill(int(old.labels["pid"]), signal.SIGKILL)
    end = time.monotonic() + 60
    while endpoint(platform, role, name).incarnation == old.incarnation:
        assert time.monotonic() < end, f"{name} did not come back"
        time.sleep(0.2)


@pytest.fixture
def no_actors(ray_cluster):
    yield
    script = (
        "import ray, contextlib\n"
        f"ray.init(namespace={NAMESPACE!r}, log_to_driver=False)\n"
        f"for name in [{COORDINATOR!r}, 'tessera-shard-0', 'tessera-shard-1']:\n"
        "    with contextlib.suppress(ValueError):\n"
        "        ray.kill(ray.get_actor(name))\n"
    )
    command = [sys.executable, "-c", script]
    subprocess.run(command, env={**os.environ, **ray_cluster.env}, check=True, timeout=120)


def test_actors_survive_kills_with_every_version(
    platform, another, ray_cluster, tmp_path, no_actors
):
    first = ensure(platform, ray_cluster, tmp_path)
    assert len(first) == 3
    assert ensure(platform, ray_cluster, tmp_path) == first
    writer = another(patience=60)
    writer.publish(1)
    kill(platform, registry_pb2.ROLE_SHARD, "shard-0")
    assert writer.check() == 1
    _await_repr(
        ray_cluster, "tessera-shard-0", r"shard-0: began with .* MB \(sets 1, versions 1\), at"
    )
    kill(platform, registry_pb2.ROLE_COORDINATOR, "coordinator")
    assert writer.check() == 1
    assert writer.publish(2).number == 2
    assert writer.check() == 2
    _check_metrics(ray_cluster)


def _await_repr(cluster, name, pattern) -> None:
    """Ray asks an actor what it is in each of its lives."""
    url = f"{cluster.dashboard_url}/api/v0/actors?detail=1&limit=1000"
    end = time.monotonic() + 20
    while True:
        reply = json.loads(ray_api.get(url, cluster.token_path))
        actors = reply["data"]["result"]["result"]
        said = [a["repr_name"] for a in actors if (a["name"], a["state"]) == (name, "ALIVE")]
        if any(re.match(pattern, text) for text in said):
            return
        assert time.monotonic() < end, said
        time.sleep(0.5)


def _check_metrics(cluster) -> None:
    wanted = {
        "ray_tessera_parameters_pulled_bytes_total",
        "ray_tessera_parameters_pushed_bytes_total",
        "ray_tessera_parameters_versions_committed_total",
        "ray_tessera_parameters_disk_bytes",
    }
    end = time.monotonic() + 40
    while True:
        with urllib.request.urlopen(cluster.metrics_url, timeout=10) as reply:
            text = reply.read().decode()
        found = {name for name in wanted if name + "{" in text}
        if found == wanted:
            return
        assert time.monotonic() < end, wanted - found
        time.sleep(1)
