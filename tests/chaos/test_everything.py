"""SIGKILL of every process of a platform at once; the next `up` takes up where it was."""

from __future__ import annotations

import psutil
import pytest
from platforms import Platform, until

from tessera.api.controller.v1 import registry_pb2 as registry_pb
from tessera.local.process import kill_members, members

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(900)]


def test_every_process_at_once(tmp_path, spec, undisturbed):
    platform = Platform(tmp_path)
    try:
        platform.up()
        done = platform.submit(spec("done", train={"steps": 60}))
        platform.succeed(done)
        version = platform.deploy("served", "done").version
        job = platform.submit(spec("going"))
        platform.reach(job, step=120, version=1)
        before = platform.coordinator().list_versions("default/going")
        history = platform.events(done)
        state = platform.state
        supervisor = state.processes["supervisor"].find()
        supervisor.kill()
        assert kill_members(state.platform, state.leaders)
        assert members(state.platform, state.leaders) == []

        platform.up()
        assert platform.state.controller == state.controller
        assert platform.events(done) == history
        kept = {v.number for v in platform.coordinator().list_versions("default/going")}
        assert {v.number for v in before[:2]} <= kept
        assert platform.ready("served", 180).version == version
        until(lambda: platform.endpoints(registry_pb.ROLE_REPLICA, "served/0"), 60)
        found = platform.succeed(job, seconds=300)
        assert len(found.attempts) == 2
        assert platform.losses(job) == undisturbed
    finally:
        platform.down()
    assert not [p for p in psutil.process_iter(["cmdline"]) if _mentions(p, str(tmp_path))]


def _mentions(process: psutil.Process, text: str) -> bool:
    return process.pid != psutil.Process().pid and text in " ".join(process.info["cmdline"] or [])
