"""A real Ray head: it listens on loopback, asks for its token and leaves nothing behind."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import uuid
from contextlib import suppress

import psutil
import pytest
from platforms import command_line

from tessera import errors
from tessera.durable_file import PRIVATE, write_durably
from tessera.local import ray_api
from tessera.local.process import ProcessRef, members
from tessera.local.ray_head import RayHead

pytestmark = pytest.mark.ray

DETACHED = """
import os, ray
ray.init(namespace="test")
@ray.remote(num_cpus=0, lifetime="detached", name="stays", max_restarts=-1)
class Stays:
    def pid(self):
        return os.getpid()
print(ray.get(Stays.remote().pid.remote()))
"""


def make(folder, mark=None) -> RayHead:
    token = folder / "token"
    write_durably(token, secrets.token_hex(32).encode(), mode=PRIVATE)
    return RayHead(
        token_path=token, log_path=folder / "ray.log", cpus=8, mark=mark or uuid.uuid4().hex
    )


def test_the_shared_cluster_is_private(ray_cluster):
    nodes = json.loads(
        ray_api.get(f"{ray_cluster.dashboard_url}/api/v0/nodes?detail=1", ray_cluster.token_path)
    )["data"]["result"]["result"]
    assert [node["node_ip"] for node in nodes] == ["127.0.0.1"]
    assert nodes[0]["resources_total"]["CPU"] == 8
    with pytest.raises(urllib.error.HTTPError) as refused:
        ray_api.get(f"{ray_cluster.dashboard_url}/api/jobs/", None)
    assert refused.value.code in {401, 403}
    leader = next(p for p in psutil.process_iter() if str(ray_cluster.temp_dir) in command_line(p))
    session = os.getsid(leader.pid)
    outside = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # Others come and go.
            if os.getsid(process.pid) == session:
                outside += [
                    (process.name(), c.laddr.ip)
                    for c in process.net_connections("tcp")
                    if c.status == psutil.CONN_LISTEN and c.laddr.ip not in LOOPBACK
                ]
    assert outside == []


LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.measures
def test_stop_ends_it_at_once_though_a_detached_actor_lives(tmp_path):
    head = make(tmp_path)
    try:
        found = head.bring_up()
        env = {**head.env(), "RAY_ADDRESS": found.gcs}
        out = subprocess.run(
            [sys.executable, "-c", DETACHED], env=env, check=True, capture_output=True, text=True
        )
        actor = ProcessRef.of(int(out.stdout))
        assert actor.alive
        started = time.monotonic()
    finally:
        head.stop()
    assert time.monotonic() - started < 10
    assert not actor.alive
    assert members(head.mark, [head.ref]) == []
    assert not head.temp_dir.exists()


def test_stop_after_the_head_alone_was_killed(tmp_path):
    head = make(tmp_path)
    head.start()
    deadline = time.monotonic() + 60
    while len(members(head.mark, [head.ref])) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    head.ref.find().kill()
    head.stop()
    assert members(head.mark, [head.ref]) == []


def test_a_cluster_that_dies_while_starting_names_its_log(tmp_path):
    head = make(tmp_path)
    head.start().find().kill()
    with pytest.raises(errors.UnavailableError, match=r"ray\.log") as failure:
        head.wait_ready()
    assert failure.value.reason == "RAY_DIED"
    head.stop()


@pytest.mark.slow
def test_one_that_always_lacks_its_dashboard_says_what_ray_said(tmp_path):
    head = make(tmp_path)
    head.environment = {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "0"}
    started = []
    try:
        with pytest.raises(errors.UnavailableError, match=r"services\.py.*ray\.log") as failure:
            head.bring_up(started.append)
    finally:
        head.stop()
    assert failure.value.reason == "RAY_NO_DASHBOARD"
    assert len(started) == 3


@pytest.mark.slow
def test_one_that_lacks_its_dashboard_is_started_again(tmp_path):
    head = make(tmp_path)
    head.environment = {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "0"}  # Ray gives it up at once.
    started = []

    def follow(ref):
        started.append(ref)
        head.environment = {}

    try:
        found = head.bring_up(follow)
        *failed, last = started
        assert failed
        assert not any(ref.alive for ref in failed)
        assert last.alive
        assert ray_api.get(f"{found.dashboard}/api/jobs/", head.token_path) == b"[]"
    finally:
        head.stop()
