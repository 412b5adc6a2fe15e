"""A platform in this process and models on it; short specs; a model of transformers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import published
import pytest
import torch

from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec

platform, parameters, tiny = published.platform, published.parameters, published.tiny
served, zoo, client = published.served, published.zoo, published.client


ROOT = Path(__file__).parents[2]


def job_spec(name="demo", **fields) -> JobSpec:
    files = fields.pop("files", ["stdlib://**/*.py"])
    return JobSpec(name=name, model=ModelSpec(family="gpt"), data=DataSpec(files=files), **fields)


@pytest.fixture
def spec():
    """Makes short valid specs."""
    return job_spec


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    """A small GPT-2 as `save_pretrained` writes it, in bfloat16, without a tokenizer."""
    import transformers as hf  # noqa: PLC0415 - slow to load, and only for imports

    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(1)
    config = hf.GPT2Config(
        vocab_size=20, n_embd=8, n_layer=2, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2
    )
    hf.GPT2LMHeadModel(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(gpt2, tmp_path):
    """A copy of the GPT-2 to break."""
    return Path(shutil.copytree(gpt2, tmp_path / "copy"))


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Path:
    """The example and the .proto files as a clone has them, with what package-lock.json names."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node is not installed")
    clone = tmp_path_factory.mktemp("clone")
    folder = clone / "examples" / "node"
    ignored = shutil.ignore_patterns("node_modules")
    shutil.copytree(ROOT / "examples" / "node", folder, ignore=ignored)
    shutil.copytree(ROOT / "protos", clone / "protos")
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if re.search(r"ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ENETUNREACH", done.stderr):
        pytest.skip("npm reaches no registry")
    assert done.returncode == 0, done.stderr
    return folder
