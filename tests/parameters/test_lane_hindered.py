"""Where the lane of one host cannot be taken, or not to the end, readers get the same by gRPC."""

from __future__ import annotations

import socket
import threading

import pytest
import versions
from lane_reading import all_of, arrays, same

from tessera import errors
from tessera.weights import descriptors, lane


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    """Also what is faster over gRPC takes the lane."""
    monkeypatch.setattr(lane, "LEAST_BYTES", 0)


def test_what_is_open_is_read_although_it_is_dropped(writer, platform, tmp_path):
    content = arrays()
    writer.acquire(keep=1)
    writer.commit(versions.content(content), {})
    manifest = writer.client.get_manifest(writer.set)
    real, both = lane.copy, threading.Barrier(2)

    def drop(*arguments):
        both.wait(10)
        for node in platform.parameters.nodes[:2]:
            node._store.drop((writer.set, 1))
        assert not list(tmp_path.rglob("*.bin"))
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane, "copy", drop)
        same(all_of(manifest, writer.token), content)
    with pytest.raises(errors.NotFoundError) as caught:
        all_of(manifest, writer.token)
    assert caught.value.reason == "PIECE_NOT_FOUND"


def hinder_host(monkeypatch, _):
    monkeypatch.setattr(descriptors, "boot_id", lambda: f"{1:08x}-0000-0000-0000-{0:012x}")


def hinder_system(monkeypatch, _):
    monkeypatch.setattr(descriptors, "boot_id", lambda: "")


def hinder_socket(_, platform):
    for node in platform.parameters.nodes[:2]:
        node._lane._server._path.rename(node._lane._server._path.with_name("hidden"))


def hinder_shard(_, platform):
    for node in platform.parameters.nodes[:2]:
        node._lane.stop()


def hinder_kernel(monkeypatch, _):
    def refuse(*_):
        raise PermissionError("no")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    "hinder", [hinder_host, hinder_system, hinder_socket, hinder_shard, hinder_kernel]
)
def test_what_hinders_the_lane_costs_nothing_but_speed(writer, platform, left, monkeypatch, hinder):
    content = arrays()
    writer.commit(versions.content(content), {})
    manifest = writer.client.get_manifest(writer.set)
    hinder(monkeypatch, platform)
    same(all_of(manifest, writer.token), content)
    assert min(left) > 0


def test_a_shard_without_a_lane_and_a_path_that_is_long(platform, another, tmp_path, left):
    long = tmp_path / ("a" * 100) / ("b" * 100)
    for served_, expected in ((True, {0}), (False, {4})):
        platform.start_parameters(long, lane=served_)
        try:
            writer, content = another(), {"one": arrays()["one"]}
            if served_:
                writer.commit(versions.content(content), {})
            left.clear()
            same(all_of(writer.client.get_manifest(writer.set), writer.token), content)
            assert served_ == (sum(left) == 0), expected
        finally:
            platform.stop_parameters()
    assert not list(long.rglob("socket"))
