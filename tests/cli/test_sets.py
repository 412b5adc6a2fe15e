"""Sets and versions on the command line, and how they get out."""

from __future__ import annotations

import pytest

from .tables import row

pytestmark = pytest.mark.processes


def test_sets_versions_and_export(on, tiny, tmp_path):
    assert row(on("sets").out, "default/tiny")[1:4] == ["1", "7", "1"]
    known = {each["name"]: each for each in on("sets", "--output", "json").json}
    assert known["default/tiny"]["head"]["number"] == 1
    assert on("versions", "tiny").out.splitlines()[1].split()[:2] == ["1", "7"]
    assert on("versions", "tiny", "--output", "json").json[0]["labels"] == {"loss": "2"}
    done = on("export", "tiny@1", "out", "--output", "json")
    assert done.json["version"] == 1
    assert (tmp_path / "out" / "model.safetensors").exists()
    again = on("export", "tiny@1", "out")
    assert again.code == 2
    assert "--force" in again.err
    assert on("export", "tiny@1", "out", "--force").code == 0


def test_verify_says_what_is_damaged(on, tiny, platform):
    done = on("verify", "tiny@1")
    assert (done.code, done.out.split(" is whole")[0]) == (0, "tiny@1")
    (victim, *_) = sorted((platform.home / "parameters").glob("shard-*/default/tiny/1/*.bin"))
    whole = victim.read_bytes()
    victim.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    try:
        found = on("verify", "tiny")
        assert found.code == 1
        assert row(found.out, victim.relative_to(platform.home / "parameters").parts[0])[1:3] == [
            "model",
            "CHECKSUM_MISMATCH",
        ]
        assert "damaged: model" in on("versions", "tiny").out
    finally:
        victim.write_bytes(whole)
    assert on("verify", "tiny", "--output", "json").json["damage"] == []
    assert "good" in on("versions", "tiny").out
    assert on("verify", "tiny@9").code == 2
