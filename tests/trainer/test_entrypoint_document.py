"""The example of docs/entrypoint.md trains as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tessera.spec.document import parse_document

pytestmark = pytest.mark.processes

DOCUMENT = (Path(__file__).parents[2] / "docs" / "entrypoint.md").read_text()


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def told(tmp_path):
    spec = yaml.safe_load(block("yaml"))
    parse_document(block("yaml"), "entrypoint.md", Path())
    path = tmp_path / spec["code"]
    path.write_text(block("python"))
    return spec | {"code": str(path)}


def test_the_example_trains(told, ranks, texts, alone):
    spec = ranks.spec(
        texts,
        **{name: told[name] for name in ("name", "model", "tokenizer", "entrypoint", "code")},
        train={"steps": 20, "eval_every": 10, "warmup_steps": 2},
        resources={"workers": 1},
    )
    result = alone.run(spec)
    assert result.lead.get("finished"), result.lead
    held_out = [
        values["held_out_loss"] for _, values in result.lead["metrics"] if "held_out_loss" in values
    ]
    assert held_out[-1] < held_out[0]


def test_an_object_without_either_is_refused(told, ranks, texts, alone):
    path = Path(told["code"]).with_name("lacking.py")
    path.write_text(block("python") + "\ndef lacks(context):\n    return object()\n")
    spec = ranks.spec(
        texts, name="lacking", entrypoint="lacking:lacks", code=str(path), resources={"workers": 1}
    )
    result = alone.run(spec)
    assert result.lead["reason"] == "ENTRYPOINT_FAILED"
    assert "with neither `loss` nor `dataset`" in result.lead["message"]


def test_every_target_is_the_task_s():
    """The table of targets names what tasks put into their batches."""
    sources = "".join(
        path.read_text()
        for path in (Path(__file__).parents[2] / "services/tessera/trainer").rglob("*.py")
    )
    for names in re.findall(r"^\| `[a-z_`, ]+ \| ((?:`\w+`(?:, )?)+) \| ", DOCUMENT, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            assert f'"{name}"' in sources
