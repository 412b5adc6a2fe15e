"""Pools are added, moved and shown on the command line."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.processes


def test_pools(on):
    assert on("pools").out == "no pools\n"
    assert on("pools", "--output", "json").json == []


def test_a_pool_is_added_and_moved(tessera, alone, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(alone.home))
    add = ("pools", "add", "far", "--dashboard", "http://127.0.0.1:9")
    done = tessera(*add, "--ray", "127.0.0.1:8", "--foreign", "CPU=2", "--foreign", "GPU=1")
    assert done.code == 0, done.err
    assert done.out.splitlines()[1].split()[:3] == ["far", "unseen", "http://127.0.0.1:9"]
    assert "does not answer" in done.out
    (listed,) = tessera("pools", "--output", "json").json
    assert (listed["ray_address"], listed["foreign"]) == ("127.0.0.1:8", {"CPU": 2, "GPU": 1})
    assert tessera(*add, "--ray", "127.0.0.1:7", "--output", "json").json["name"] == "far"
    (moved,) = tessera("pools", "--output", "json").json
    assert (moved["ray_address"], moved["foreign"]) == ("127.0.0.1:7", {})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Far!", "--dashboard", "http://x", "--ray", "x:1"], "pool.name"),
        (["far", "--dashboard", "", "--ray", "x:1"], "pool.dashboard_url"),
        (["far", "--dashboard", "http://x"], "--ray"),
        (["far", "--dashboard", "http://x", "--ray", "x:1", "--foreign", "CPU"], "`CPU` is not"),
        (["far", "--dashboard", "http://x", "--ray", "x:1", "--foreign", "A=-1"], "`A=-1` is not"),
    ],
)
def test_mistakes_about_pools_are_one_line(on, arguments, words):
    done = on("pools", "add", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert on("pools").out == "no pools\n"


def test_a_pool_is_deleted(tessera, alone, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(alone.home))
    add = ("pools", "add", "gone", "--dashboard", "http://127.0.0.1:9", "--ray", "127.0.0.1:8")
    assert tessera(*add, "--token-file", "gone").code == 0
    both = tessera(*add, "--token-file", "gone", "--token-env", "TESSERA_SECRET_GONE")
    assert (both.code, both.out) == (2, "")
    assert "there is no token at `file:gone`" in tessera("pools").out
    assert tessera("pools", "delete", "gone").code == 0
    assert "gone" not in tessera("pools").out
    again = tessera("pools", "delete", "gone")
    assert (again.code, again.out) == (2, "")
    assert "no pool 'gone'" in again.err
