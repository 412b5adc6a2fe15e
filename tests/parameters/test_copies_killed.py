"""SIGKILL and SIGSTOP of shards in processes of their own: readers of two copies hardly notice."""

from __future__ import annotations

import signal
import time

import pytest
from parameter_nodes import Nodes

from tessera.weights import holding

pytestmark = pytest.mark.processes

NAMES = ("coordinator", "shard-0", "shard-1", "shard-2")
FAIL_OVER_SECONDS = 2.0


@pytest.fixture(scope="module")
def nodes(platform, tmp_path_factory):
    nodes = Nodes(platform, tmp_path_factory.mktemp("copies"), NAMES, replicas=2)
    try:
        nodes.wait()
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def committed(nodes, another, request):
    writer = another(f"s{abs(hash(request.node.name))}", patience=60)
    writer.publish(1)
    return writer


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(holding.AWAY, "_until", {})


def timed(writer, version=0):
    begin = time.monotonic()
    writer.check(version)
    return time.monotonic() - begin


@pytest.mark.parametrize("name", NAMES[1:])
def test_reads_go_on_after_a_kill(nodes, committed, name):
    nodes.kill(name)
    assert timed(committed) < FAIL_OVER_SECONDS
    nodes.start(name)
    nodes.wait_for(name)
    assert timed(committed) < FAIL_OVER_SECONDS


@pytest.mark.parametrize("name", NAMES[1:])
def test_reads_go_on_while_a_shard_stands_still(nodes, committed, name):
    nodes.signal(name, signal.SIGSTOP)
    try:
        assert timed(committed) < FAIL_OVER_SECONDS
        assert timed(committed) < FAIL_OVER_SECONDS / 2, "it is known to be away"
    finally:
        nodes.signal(name, signal.SIGCONT)


def test_versions_are_committed_without_a_shard_and_whole_when_it_is_back(nodes, committed):
    nodes.kill("shard-1")
    begin = time.monotonic()
    committed.publish(2)
    assert time.monotonic() - begin < 60
    assert committed.check(2) == 2
    nodes.start("shard-1")
    nodes.wait_for("shard-1")
    nodes.kill("shard-0")
    assert committed.check(1) == 1
    nodes.start("shard-0")
    nodes.wait_for("shard-0")
    committed.publish(3)
    assert [committed.check(number) for number in (1, 2, 3)] == [1, 2, 3]
