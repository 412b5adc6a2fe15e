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
