"""Logs and blobs on a real disk."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.controller.store.blobs import BlobStore
from tessera.controller.store.logs import Logs

LINES = [f"line {n}" for n in range(1, 30)]


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(1, 29), st.integers(1, 29)), max_size=12))
def test_lines_arrive_once_whatever_is_sent_again(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("logs")
    logs, high = Logs(folder), 0
    for a, b in cuts:
        first, last = min(a, b, high + 1), max(a, b)
        if last % 3 == 0:
            logs = Logs(folder)  # The controller was restarted.
        count = logs.append("j", 1, "rank-0", first, LINES[first - 1 : last])
        high = max(high, last)
        assert count == high
    assert logs.read("j", 1, "rank-0", 0)[0] == LINES[:high]


def test_a_gap_is_marked_and_numbers_stay_true(tmp_path):
    logs = Logs(tmp_path)
    logs.append("j", 1, "driver", 1, ["a"])
    assert logs.append("j", 1, "driver", 4, ["d"]) == 4
    assert logs.read("j", 1, "driver", 0)[0] == ["a", "[lost]", "[lost]", "d"]


def test_a_full_log_says_so_once(tmp_path):
    logs = Logs(tmp_path, cap=100)
    for n in range(1, 50):
        assert logs.append("j", 1, "driver", n, [f"{n:010}"]) == n
    lines, _ = logs.read("j", 1, "driver", 0)
    assert lines[:9] == [f"{n:010}" for n in range(1, 10)]
    assert lines[9:] == ["[this log is full; later lines are dropped]"]


def test_tail_and_sources(tmp_path):
    logs = Logs(tmp_path)
    for source in ("rank-10", "rank-2", "driver"):
        logs.append("j", 1, source, 1, ["a", "b\nc", "d"])
    assert logs.sources("j", 1) == ["driver", "rank-2", "rank-10"]
    offset = logs.tail_offset("j", 1, "driver", 2)
    assert logs.read("j", 1, "driver", offset)[0] == ["b\\nc", "d"]
    assert logs.sources("k", 1) == []


def test_only_missing_lines_are_added(tmp_path):
    logs = Logs(tmp_path)
    logs.append("j", 1, "driver", 1, ["a", "b"])
    for _ in range(2):
        logs.append_missing("j", 1, "driver", "start\na\nb\nTraceback\n")
    assert logs.read("j", 1, "driver", 0)[0] == ["a", "b", "start", "Traceback"]


def test_a_blob_is_whole_or_not_there(tmp_path):
    blobs = BlobStore(tmp_path)
    data = b"x" * 3_000_000
    digest = hashlib.sha256(data).hexdigest()
    writer = blobs.begin(digest)
    writer.write(data[:1000])
    with pytest.raises(errors.NotFoundError):
        blobs.size(digest)
    BlobStore(tmp_path)  # A restart sweeps what was half written.
    assert not list(tmp_path.iterdir())
    writer = blobs.begin(digest)
    writer.write(data)
    assert writer.commit() == len(data)
    assert b"".join(blobs.read(digest)) == data
    wrong = blobs.begin(hashlib.sha256(b"other").hexdigest())
    wrong.write(data)
    with pytest.raises(errors.DataLossError):
        wrong.commit()
    assert [p.name for p in tmp_path.iterdir()] == [digest]
