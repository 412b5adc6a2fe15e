"""Bad input at run time: the job fails with its own reason and the guilty rank, at once.

The same without a platform is in tests/trainer/test_failures.py, and with Ray in test_ray.py.
"""

from __future__ import annotations

import textwrap

import pytest
from platforms import Platform, tiny

from tessera.api.controller.v1 import job_pb2 as job_pb

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

NAN = """
import torch

class Broken:
    calls = 0

    def loss(self, model, batch):
        self.calls += 1
        value = model(batch.inputs).logits.sum()
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


@pytest.fixture(scope="module")
def jobs(platform, files, tmp_path_factory) -> dict[str, str]:
    """One job for each mistake, all submitted at once; id by name."""
    folder = tmp_path_factory.mktemp("mistakes")

    def code(name: str, text: str) -> dict[str, str]:
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        return {"entrypoint": f"{name}:make", "code": str(folder / f"{name}.py")}

    specs = [
        tiny("vanished", [f"file://{folder}/gone.txt"]),
        tiny("nan", files, **code("broken", NAN)),
        tiny("raises", files, **code("raising", RAISES)),
    ]
    return {spec["name"]: platform.submit({**spec, "retries": 2}) for spec in specs}


def failed(platform: Platform, job: str, reason: str) -> job_pb.Failure:
    failure = platform.fail(job, 240)
    assert failure.reason == reason, platform.describe(job)
    assert failure.category == job_pb.FAILURE_CATEGORY_USER
    assert len(platform.job(job).attempts) == 1, "a mistake of the user's is never repeated"
    return failure


def test_vanished_data(platform, jobs):
    failure = failed(platform, jobs["vanished"], "DATA_NOT_FOUND")
    assert "gone.txt" in failure.message


def test_loss_that_is_not_finite(platform, jobs):
    failure = failed(platform, jobs["nan"], "LOSS_NOT_FINITE")
    assert failure.rank == 1


def test_an_exception_in_the_users_entrypoint(platform, jobs):
    failure = failed(platform, jobs["raises"], "ENTRYPOINT_FAILED")
    assert failure.rank == 1
    assert "the moon is down" in failure.traceback
    assert "raising.py" in failure.traceback
