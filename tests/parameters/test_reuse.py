"""What a set holds already is not sent again, and outlives the version that it came with."""

from __future__ import annotations

import itertools
import os
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vanishing import found

from tessera.weights.manifest import TensorSpec
from tessera.weights.push import push
from tessera.weights.push_digest import sum_of

from .conftest import Writer as Base

NUMBERS = itertools.count()

pytestmark = pytest.mark.waits


class Writer(Base):
    """A base that stays, and adapters that change."""

    tensors = (
        TensorSpec(group="model", name="base", shape=(400, 64), dtype="F32"),
        TensorSpec(group="model", name="adapter", shape=(20, 8), dtype="F32"),
        TensorSpec(group="optimizer", name="exp_avg/adapter", shape=(20, 8), dtype="F32"),
    )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.before = {}

    def content(self, seed, same=("base",)):
        return {
            tensor: np.random.default_rng(
                [0 if tensor.name in same else seed, len(tensor.name)]
            ).integers(0, 256, tensor.size, np.uint8)
            for tensor in self.tensors
        }

    def publish(self, seed, content=None):
        """Commits, each rank giving what it knows of the version before; returns bytes sent."""
        content = content or self.content(seed)
        opened = self.client.open_version(self.set, self.epoch, seed, list(content), {}, {})
        reports = {
            rank: push(
                opened, rank, self.slices(content, rank), self.token, before=self.before.get(rank)
            )
            for rank in range(self.ranks)
        }
        digest = sum_of(report.digest for report in reports.values())
        self.client.seal_version(opened, digest)
        version = self.client.commit_version(opened)
        self.before = reports
        assert version.size == sum(data.size for data in content.values())
        return sum(report.sent for report in reports.values())

    def verify(self, content, version=0):
        _, found = self.read(version)
        for tensor, data in content.items():
            assert found[tensor.name] == data.tobytes(), tensor.name


@pytest.fixture
def writer(platform, parameters):
    writer = Writer(platform, "lora")
    writer.acquire(keep=2)
    yield writer
    writer.client.close()


def until(what, seconds=20.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def disk(folder):
    """Bytes of all files, each counted once whatever names it has."""
    return sum(
        {
            file.stat().st_ino: file.stat().st_size for file in folder.glob("shard-*/*/*/*/*.bin")
        }.values()
    )


def test_only_what_has_changed_is_sent_and_kept(writer, reader, tmp_path):
    whole = sum(tensor.size for tensor in writer.tensors)
    changed = sum(tensor.size for tensor in writer.tensors[1:])
    assert writer.publish(1) == whole
    for seed in (2, 3, 4):
        assert writer.publish(seed) == changed
        writer.verify(writer.content(seed))
    until(lambda: not found(tmp_path, f"shard-*/{writer.set}/[12]"))
    # The base once, and adapters of the versions that are held, and of the first beside its base.
    assert disk(tmp_path) <= whole + 3 * changed
    assert [version.number for version in writer.client.list_versions(writer.set)] == [4, 3]
    assert not list(reader.verify_version(writer.set))[-1].damage


def test_it_is_there_after_a_restart(writer, platform, tmp_path):
    for seed in (1, 2, 3, 4):
        writer.publish(seed)
    platform.stop_parameters()
    platform.start_parameters(tmp_path)
    writer.verify(writer.content(4))
    writer.acquire()
    changed = sum(tensor.size for tensor in writer.tensors[1:])
    assert writer.publish(5) == changed
    writer.verify(writer.content(5))


def test_tensors_are_known_by_name_not_by_place(writer):
    writer.publish(1)
    content = dict(reversed(writer.content(2).items()))
    assert writer.publish(2, content) == sum(tensor.size for tensor in writer.tensors[1:])
    writer.verify(content)


def test_what_is_not_there_any_more_is_sent(writer, platform, tmp_path, reader):
    writer.publish(1)
    reader.delete_set(writer.set)
    until(lambda: not found(tmp_path, f"shard-*/{writer.set}/1"))
    writer.acquire()
    assert writer.publish(2) == sum(tensor.size for tensor in writer.tensors)
    writer.verify(writer.content(2))


def test_what_is_damaged_is_sent(writer, tmp_path, reader):
    writer.publish(1)
    for path in tmp_path.glob(f"shard-0/{writer.set}/1/*-model-*.bin"):
        path.write_bytes(bytes(path.stat().st_size))
    list(reader.verify_version(writer.set))
    sent = writer.publish(2)
    assert sent > sum(tensor.size for tensor in writer.tensors[1:])
    writer.verify(writer.content(2))


def test_what_is_cut_short_is_sent_though_nobody_knows_of_it_yet(writer, tmp_path):
    writer.publish(1)
    for path in tmp_path.glob(f"shard-0/{writer.set}/1/*-model-*.bin"):
        with path.open("r+b") as file:
            file.truncate(100)
    assert writer.publish(2) > sum(tensor.size for tensor in writer.tensors[1:])
    writer.verify(writer.content(2))


def test_of_a_file_of_which_little_is_needed_that_is_copied(writer, tmp_path):
    """So that a version does not hold on to the whole of another one."""
    writer.publish(1)
    same = ("adapter", "exp_avg/adapter")
    contents = {seed: writer.content(seed, same) for seed in (2, 3, 4)}
    for seed, content in contents.items():
        writer.publish(seed, content)
        writer.verify(content)
    until(lambda: not found(tmp_path, f"shard-*/{writer.set}/[12]"))
    whole = sum(tensor.size for tensor in writer.tensors)
    assert disk(tmp_path) <= 2.2 * whole


def test_a_filesystem_without_links(writer, monkeypatch):
    writer.publish(1)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert writer.publish(2) == sum(tensor.size for tensor in writer.tensors)
    writer.verify(writer.content(2))


def test_the_same_push_after_the_seal_changes_nothing(writer):
    writer.publish(1)
    content = writer.content(2)
    opened = writer.client.open_version(writer.set, writer.epoch, 2, list(content), {}, {})

    def send():
        for rank in range(writer.ranks):
            slices = writer.slices(content, rank)
            push(opened, rank, slices, writer.token, before=writer.before[rank])

    send()
    writer.client.seal_version(opened)
    send()
    writer.client.seal_version(opened)
    writer.client.commit_version(opened)
    writer.verify(content)


@pytest.mark.waits
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    runs=st.lists(
        st.sets(st.sampled_from(["base", "adapter", "exp_avg/adapter"])), min_size=2, max_size=5
    )
)
def test_whatever_stays_the_same(platform, parameters, runs):
    writer = Writer(platform, f"any-{next(NUMBERS)}")
    writer.acquire(keep=2)
    seeds = dict.fromkeys((tensor.name for tensor in writer.tensors), 0)
    for step, same in enumerate(runs):
        seeds = {name: seed if name in same else step + 1 for name, seed in seeds.items()}
        content = {
            tensor: np.random.default_rng([seeds[tensor.name], len(tensor.name)]).integers(
                0, 256, tensor.size, np.uint8
            )
            for tensor in writer.tensors
        }
        sent = writer.publish(step + 1, content)
        if step:
            assert sent == sum(t.size for t in writer.tensors if t.name not in same)
        writer.verify(content)
    writer.client.close()
