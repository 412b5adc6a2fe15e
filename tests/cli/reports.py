"""What attempts report, for the tests of several commands."""

from __future__ import annotations

from tessera.api.controller.v1 import job_pb2


def progress(step=5, **fields):
    return job_pb2.Progress(
        step=step, total_steps=10, loss=3.25, tokens_per_second=1234.5, phase="training", **fields
    )


FAILURE = job_pb2.Failure(
    category=job_pb2.FAILURE_CATEGORY_USER,
    reason="ENTRYPOINT_FAILED",
    message="ValueError: no such column\n",
    rank=1,
    traceback="Traceback (most recent call last):\n  boom\nValueError: no such column\n",
)
