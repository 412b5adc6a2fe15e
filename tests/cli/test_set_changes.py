"""Comparing, rolling back and deleting sets on the command line."""

from __future__ import annotations

import numpy as np
import pytest
from versions import Writer, content

from .tables import row

pytestmark = pytest.mark.processes


@pytest.fixture
def changing(platform, parameters):
    """Two versions of a set, of which the second has one tensor otherwise."""
    writer = Writer(platform, "changing", ranks=1)
    if not writer.epoch:
        writer.acquire()
    arrays = {"embed": np.ones((4, 2), np.float32), "bias": np.ones(3, np.float32)}
    for seed in (1, 2):
        arrays["bias"] = arrays["bias"] * seed
        writer.commit(content(arrays), {}, step=seed)
    yield "changing"
    writer.client.close()


def test_the_life_of_a_set(on, changing):
    assert "back" not in on("versions", changing).out
    told = on("diff", f"{changing}@1", f"{changing}@2")
    assert told.code == 0
    assert "1 tensors are the same, 1 changed" in told.out
    assert row(told.out, "bias")[1:] == ["[3]", "1", "1.732", "1", "100.0", "%"]
    plain = on("diff", f"{changing}@1", changing, "--output", "json").json
    assert (plain["same"], plain["changed"][0]["name"], plain["new"]["version"]) == (1, "bias", 2)

    assert on("rollback", f"{changing}@1").out.startswith(f"{changing} is at version 1")
    assert row(on("sets", "--health").out, f"default/{changing}")[1:4:2] == ["1", "2"]
    assert row(on("sets", "--health").out, f"default/{changing}")[-1] == "good"
    assert f"rolled {changing} back" in on("versions", changing).out
    moves = on("versions", changing, "--history", "--output", "json").json
    assert [(move["version"], move["rollback"]) for move in moves] == [
        (1, True), (2, False), (1, False)
    ]  # fmt: skip
    assert [line.split()[1] for line in on("versions", changing, "--history").out.splitlines()] == [
        "BY", "rollback", "commit", "commit"
    ]  # fmt: skip

    asked = on("delete", changing)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert on("versions", changing).code == 0
    assert on("delete", changing, "--yes").out.startswith(f"{changing} is deleted: 2 versions")
    assert on("versions", changing).code == 2
    assert changing not in on("sets").out


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (("rollback", "tiny"), "names no version"),
        (("rollback", "tiny@9"), "no version 9"),
        (("delete", "other/tiny", "--yes"), "cannot be the name of a set"),
        (("delete", "nothing", "--yes"), "there is no set"),
        (("diff", "tiny@1", "tiny@x"), "tiny@x"),
        (("versions", "nothing", "--history"), "there is no set"),
    ],
)
def test_mistakes_are_one_line(on, tiny, line, what):
    told = on(*line)
    assert told.code == 2
    assert what in told.err
    assert len(told.err.strip().splitlines()) == 1
