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


@pytest.mark.parametrize("restart", [False, True])
def test_a_gap_is_one_line_and_numbers_stay_true(tmp_path, restart):
    logs = Logs(tmp_path)
    logs.append("j", 1, "driver", 1, ["a", "[7 lines lost]"])
    for first, lines in ((5, ["e"]), (7, ["g"]), (1_000_000, ["z"]), (1_000_000, ["z", "!"])):
        logs = Logs(tmp_path) if restart else logs
        assert logs.append("j", 1, "driver", first, lines) == first + len(lines) - 1
    assert logs.read("j", 1, "driver", 0)[0] == [
        *("a", " [7 lines lost]", "[2 lines lost]", "e", "[1 line lost]", "g"),
        *("[999992 lines lost]", "z", "!"),
    ]


def test_a_gap_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(errors.InvalidArgumentError) as refused:
        Logs(tmp_path).append("j", 1, "driver", 2**62, ["a"])
    assert refused.value.reason == "GAP_TOO_LARGE"
    assert not list(tmp_path.iterdir())


def test_all_sources_of_an_attempt_share_its_bytes(tmp_path):
    for number in range(40):
        logs = Logs(tmp_path, cap=1000, attempt_cap=5000)  # The controller was restarted.
        logs.append("j", 1, f"rank-{number}", 1, ["x" * 99] * 4)
    logs.append("j", 2, "driver", 1, ["another attempt"])
    size = sum(path.stat().st_size for path in (tmp_path / "j" / "1").iterdir())
    assert 4500 < size < 5100
    assert logs.read("j", 2, "driver", 0)[0] == ["another attempt"]


def test_a_page_is_one_message_however_long_its_lines(tmp_path):
    logs, offset, pages = Logs(tmp_path), 0, []
    logs.append("j", 1, "driver", 1, ["é" * 9000] * 300)
    while lines := (page := logs.read("j", 1, "driver", offset))[0]:
        offset = page[1]
        pages.append(lines)
    assert max(sum(len(line.encode()) for line in page) for page in pages) < 1_100_000
    assert [len(line) for page in pages for line in page] == [8192] * 300


@pytest.mark.parametrize("names", [("..", "driver"), ("j", "../x"), ("j", "a" * 300), ("/", "x")])
def test_names_that_are_no_names_reach_no_file(tmp_path, names):
    with pytest.raises(errors.InvalidArgumentError):
        Logs(tmp_path / "logs").append(names[0], 1, names[1], 1, ["a"])
    assert not list(tmp_path.iterdir())


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
    writer = blobs.begin(digest, 10**7)
    writer.write(data[:1000])
    with pytest.raises(errors.NotFoundError):
        blobs.size(digest)
    BlobStore(tmp_path)  # A restart sweeps what was half written.
    assert not list(tmp_path.iterdir())
    writer = blobs.begin(digest, 10**7)
    writer.write(data)
    assert writer.commit() == len(data)
    assert b"".join(blobs.read(digest)) == data
    wrong = blobs.begin(hashlib.sha256(b"other").hexdigest(), 10**7)
    wrong.write(data)
    with pytest.raises(errors.DataLossError):
        wrong.commit()
    assert [p.name for p in tmp_path.iterdir()] == [digest]
