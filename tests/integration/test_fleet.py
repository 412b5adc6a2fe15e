"""A real Ray cluster of several nodes: work is where the scheduler put it, and leaves when asked.

The nodes are raylets on this machine, with labels by which work is told where to go.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from platforms import Platform, running, tiny, until

from tessera.api.controller.v1 import job_pb2 as job_pb
from tessera.client import Client
from tessera.local.network import loopback, loopback_interface
from tessera.local.ray_head import client_env
from tessera.local.scratch import OBJECT_STORE_BYTES

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(500)]

ZONES = ("east", "west", "north")


NODE = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams

address, host, zone, memory = sys.argv[1:]
params = RayParams(
    gcs_address=address, node_ip_address=host, num_cpus=2, labels={"zone": zone},
    object_store_memory=int(memory), min_worker_port=0, max_worker_port=0,
)
node = Node(params, head=False, shutdown_at_exit=False, spawn_reaper=False)
while True:
    time.sleep(60)
"""
"""What `ray start` does, which takes an address on the loopback interface for another machine's."""


class RayNode:
    """One more node of a platform's cluster, with a zone and two processors."""

    def __init__(self, platform: Platform, zone: str) -> None:
        state = platform.state
        self.zone = zone
        env = {
            **os.environ,
            **client_env(Path(state.ray_token_path)),
            "GLOO_SOCKET_IFNAME": loopback_interface(),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        given = (state.ray_address, loopback(), zone, str(OBJECT_STORE_BYTES))
        with (platform.folder / f"{zone}.log").open("w") as log:
            self._process = psutil.Popen(
                [sys.executable, "-c", NODE, *given], env=env, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """The node is gone, with all that runs on it."""
        for process in [*self._process.children(recursive=True), self._process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)


@dataclass
class RayFleet:
    """A platform whose cluster has several nodes."""

    platform: Platform
    nodes: dict[str, RayNode] = field(default_factory=dict)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayFleet]:
    with running(tmp_path_factory.mktemp("fleet")) as made:
        found = RayFleet(made)
        try:
            for number, zone in enumerate(ZONES, start=1):
                # One after another: they would take the same ports.
                found.nodes[zone] = RayNode(made, zone)
                until(lambda n=number: len(zones(made)) == n, 60)
            yield found
        finally:
            for node in found.nodes.values():
                node.kill()


@pytest.fixture
def platform(fleet: RayFleet) -> Platform:
    return fleet.platform


def zones(platform: Platform) -> dict[str, str]:
    """The node of each zone."""
    with Client(home=platform.home.path) as client:
        listed = list(client.scheduling.nodes())
    return {node.labels["zone"]: node.id for node in listed if "zone" in node.labels}


def job(name: str, files: list[str], zone: str, **more: object) -> dict[str, object]:
    resources = {"workers": 2, "cpus_per_worker": 1, "node_selector": {"zone": zone}}
    return {**tiny(name, files, **more), "resources": resources}


def ranks(platform: Platform, id_: str) -> list[str]:
    """Where Ray says that the ranks of a job are."""
    state = platform.state
    token = Path(state.ray_token_path).read_text().strip()
    actors = httpx.get(
        f"{state.dashboard}/api/v0/actors?detail=1&limit=1000",
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    ).json()["data"]["result"]["result"]
    of_job = [a for a in actors if a["state"] == "ALIVE" and "RayTrainWorker" in a["class_name"]]
    return sorted(actor["node_id"] for actor in of_job)


def test_ranks_are_where_the_scheduler_put_them(platform, files):
    known = zones(platform)
    id_ = platform.submit(job("placed", files, "west", steps=400))
    until(lambda: platform.job(id_).state == job_pb.JOB_STATE_RUNNING, 90)
    attempt = platform.job(id_).attempts[-1]
    assert list(attempt.nodes) == [known["west"]] * 2
    assert ranks(platform, id_) == [known["west"]] * 2
    platform.cancel(id_)
    platform.finish(id_)


def test_who_is_preempted_goes_on_bit_for_bit(platform, files):
    """The same job, once let alone and once made to go in the middle: the same losses."""
    alone = platform.submit(job("alone", files, "east", steps=60))
    platform.succeed(alone)
    low = platform.submit(job("low", files, "east", steps=60))
    until(lambda: platform.job(low).progress.step >= 12, 90)
    high = platform.submit({**job("high", files, "east", steps=5), "priority": 10})
    platform.succeed(high)
    done = platform.succeed(low)
    assert len(done.attempts) == 2, platform.describe(low)
    told = [event.message for event in platform.events(low)]
    assert any("PREEMPTED" in text and high in text for text in told), told
    assert platform.losses(low) == platform.losses(alone)


def test_a_lost_node_costs_no_retries(platform, fleet, files):
    known = zones(platform)
    spec = {**tiny("lost", files, steps=300), "retries": 0}
    spec["resources"] = {"workers": 2, "cpus_per_worker": 1, "node_selector": {"zone": "north"}}
    id_ = platform.submit(spec)
    until(lambda: platform.job(id_).progress.step >= 12, 90)
    fleet.nodes["north"].kill()
    until(lambda: "north" not in zones(platform), 120)
    until(lambda: _reason(platform, id_) == "EXCEEDS_EVERY_POOL", 120)
    fleet.nodes["north"] = RayNode(platform, "north")
    until(lambda: zones(platform).get("north") not in {None, known["north"]}, 60)
    done = platform.succeed(id_)
    assert done.attempts[-1].nodes[0] == zones(platform)["north"]


def _reason(platform: Platform, id_: str) -> str:
    waiting = platform.job(id_).waiting
    return waiting[0].reason if waiting else ""
