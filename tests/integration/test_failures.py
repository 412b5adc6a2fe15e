"""Bad input at run time: the job fails with its own reason and the guilty rank, at once."""

from __future__ import annotations

import os
import textwrap

import pytest
from platforms import Platform, tiny

from tessera.api.controller.v1 import job_pb2 as job_pb

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

NAN = """
import torch

class Broken:
    calls = 0

    def loss(self, model, batch):
        self.calls += 1
        value = model(batch.inputs).sum()
        return value * float("nan") if self.calls > 3 and self.rank == 1 else value * 1e-3

def make(context):
    broken = Broken()
    broken.rank = context.rank
    return broken
"""
RAISES = """
def make(context):
    if context.rank == 1:
        raise LookupError("the moon is down")
"""


@pytest.fixture
def code(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def failed(platform: Platform, spec: dict, reason: str) -> job_pb.Failure:
    job = platform.submit({**spec, "retries": 2})
    failure = platform.fail(job)
    assert failure.reason == reason, platform.describe(job)
    assert failure.category == job_pb.FAILURE_CATEGORY_USER
    assert len(platform.job(job).attempts) == 1, "a mistake of the user's is never repeated"
    return failure


def test_empty_data(platform, tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.py").write_text("")
    failed(platform, tiny("empty", [f"file://{tmp_path}/*.py"]), "DATA_EMPTY")


def test_vanished_data(platform, tmp_path):
    failure = failed(platform, tiny("vanished", [f"file://{tmp_path}/gone.py"]), "DATA_NOT_FOUND")
    assert "gone.py" in failure.message


def test_binary_data(platform, tmp_path):
    (tmp_path / "a.py").write_bytes(os.urandom(50_000))
    failure = failed(platform, tiny("binary", [f"file://{tmp_path}/a.py"]), "DATA_NOT_TEXT")
    assert "a.py" in failure.message


def test_loss_that_is_not_finite(platform, files, code):
    spec = tiny("nan", files, entrypoint="mine:make", code=code(NAN))
    failure = failed(platform, spec, "LOSS_NOT_FINITE")
    assert failure.rank == 1


def test_an_exception_in_the_users_entrypoint(platform, files, code):
    spec = tiny("raises", files, entrypoint="mine:make", code=code(RAISES))
    failure = failed(platform, spec, "ENTRYPOINT_FAILED")
    assert failure.rank == 1
    assert "the moon is down" in failure.traceback
    assert "mine.py" in failure.traceback
