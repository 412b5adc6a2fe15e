"""What the command line tells of the platform itself."""

from __future__ import annotations

import pytest

from tessera.local import overview
from tessera.local.state import State

pytestmark = pytest.mark.processes


def test_status_tells_what_shards_hold(platform, tiny):
    state = State(platform="tests", controller=platform.address)
    held = overview.workloads(state, platform.token)["shards"]
    assert [shard["name"] for shard in held] == ["shard-0", "shard-1"]
    assert sum(shard["disk_bytes"] for shard in held) >= sum(
        parameter.nbytes for parameter in tiny.module.parameters()
    )
    assert max(shard["versions"] for shard in held) >= 1
