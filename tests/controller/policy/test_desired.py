"""What must stand, and when to make sure of it again."""

from __future__ import annotations

import pytest

from tessera.controller.policy.demand import Demand
from tessera.controller.policy.desired import due, missing_endpoints, parameters, replicas
from tessera.controller.policy.records import Deployment, EnsureJob
from tessera.controller.policy.registry import EndpointRole


def ensure(**fields):
    standard = {
        "key": "parameters",
        "submission_id": "e-1",
        "pool": "p",
        "cluster": "c",
        "generation": "2/0",
        "status": "SUCCEEDED",
        "started": 90.0,
        "ended": 100.0,
    }
    return EnsureJob(**{**standard, **fields})


@pytest.mark.parametrize(
    ("known", "missing", "now", "expected"),
    [
        (None, 0.0, 100.0, True),
        (ensure(status="RUNNING", ended=None), 99.0, 200.0, False),
        (ensure(), 0.0, 500.0, False),
        (ensure(), 10.0, 500.0, False),
        (ensure(), 16.0, 500.0, True),
        (ensure(), 16.0, 105.0, False),
        (ensure(cluster="older"), 0.0, 101.0, True),
        (ensure(generation="3/0"), 0.0, 101.0, True),
        (ensure(status="FAILED", failures=3), 99.0, 105.0, False),
        (ensure(status="FAILED", failures=3), 99.0, 109.0, True),
    ],
)
def test_when_to_make_sure_again(known, missing, now, expected):
    desired = parameters("p", shards=2, data_dir="/d", disk_cap=0)
    assert due(desired, known, cluster="c", missing=missing, now=now) is expected


def test_what_stands_and_how_it_is_asked_for():
    desired = parameters("p", shards=2, data_dir="/d", disk_cap=5)
    assert desired.command == (
        "-m",
        "tessera.parameters",
        "--shards",
        "2",
        "--data-dir",
        "/d",
        "--disk-cap-bytes",
        "5",
    )
    twice = parameters("p", shards=2, data_dir="/d", disk_cap=0, replicas=2)
    assert twice.command[-2:] == ("--replicas", "2")
    assert len({desired.generation, twice.generation}) == 2
    live = [(EndpointRole.COORDINATOR, "coordinator"), (EndpointRole.SHARD, "shard-1")]
    assert missing_endpoints(desired, live) == [(EndpointRole.SHARD, "shard-0")]
    deployment = Deployment(
        tenant="default",
        name="m",
        owner="ada",
        spec="{}",
        generation="g",
        pool="p",
        demand=Demand(workers=2, cpus=1.5, accelerator="H100", count=1.0),
    )
    made = replicas(deployment, "default/s")
    assert made.principals[0].reads == ("default/s",)
    assert made.command[2:] == (
        "--tenant",
        "default",
        "--deployment",
        "m",
        "--generation",
        "g",
        "--replicas",
        "2",
        "--cpus",
        "1.5",
        "--accelerator-type",
        "H100",
        "--accelerator-count",
        "1",
    )
