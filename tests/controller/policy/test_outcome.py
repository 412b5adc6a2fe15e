"""What became of an attempt whose driver did not say so."""

from __future__ import annotations

import os

import pytest

from tessera.controller.policy.job import Fail, Stop
from tessera.controller.policy.outcome import (
    EX_TEMPFAIL,
    RayJobRun,
    RunStatus,
    decide,
    last_traceback,
)
from tessera.controller.policy.retry import FailureCategory


@pytest.mark.parametrize(
    ("run", "reported", "category", "reason"),
    [
        (RayJobRun(status=RunStatus.FAILED, exit_code=137), True, "WORKER_LOST", "DRIVER_KILLED"),
        (RayJobRun(status=RunStatus.FAILED, exit_code=-9), True, "WORKER_LOST", "DRIVER_KILLED"),
        (RayJobRun(status=RunStatus.FAILED, exit_code=1), True, "INTERNAL", "DRIVER_FAILED"),
        (RayJobRun(status=RunStatus.FAILED), False, "LAUNCH", "LAUNCH_FAILED"),
        (RayJobRun(status=RunStatus.FAILED), True, "WORKER_LOST", "DRIVER_KILLED"),
        (RayJobRun(status=RunStatus.STOPPED), True, "WORKER_LOST", "DRIVER_STOPPED"),
        (RayJobRun(status=RunStatus.SUCCEEDED, exit_code=0), True, "INTERNAL", "NO_OUTCOME"),
        (RayJobRun(status=RunStatus.MISSING), True, "WORKER_LOST", "PLATFORM_RESTARTED"),
        (
            RayJobRun(
                status=RunStatus.FAILED, exit_code=1, message="ray.exceptions.OutOfMemoryError"
            ),
            True,
            "OUT_OF_MEMORY",
            "DRIVER_OUT_OF_MEMORY",
        ),
    ],
)
def test_a_silent_end_is_judged_by_the_pool(run, reported, category, reason):
    outcome = decide(run, cancelling=False, reported=reported)
    assert isinstance(outcome, Fail)
    assert outcome.failure.category is FailureCategory(category)
    assert outcome.failure.reason == reason
    assert decide(run, cancelling=True, reported=reported) == Stop()


def test_the_last_traceback_is_found():
    head = "Traceback (most recent call last):\n"
    log = f"x\n{head}  old\nE: 1\n{head}  a\nValueError: b\n"
    assert last_traceback(log) == f"{head}  a\nValueError: b"
    run = RayJobRun(status=RunStatus.FAILED, exit_code=1)
    assert decide(run, cancelling=False, reported=True, log=log).failure.message == "ValueError: b"


@pytest.mark.parametrize(
    ("code", "hopeless"),
    [(0, False), (None, False), (1, True), (2, True), (EX_TEMPFAIL, False), (137, False),
     (143, False), (-9, False)],
)  # fmt: skip
def test_which_exit_codes_say_that_trying_again_is_in_vain(code, hopeless):
    assert RayJobRun(status=RunStatus.FAILED, exit_code=code).hopeless is hopeless
    assert not RayJobRun(status=RunStatus.MISSING, exit_code=code).hopeless
    memory = "the node ran low on memory"
    assert not RayJobRun(status=RunStatus.FAILED, exit_code=code, message=memory).hopeless
    assert os.EX_TEMPFAIL == EX_TEMPFAIL
