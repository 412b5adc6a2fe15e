"""Why an attempt failed, and whose fault it is."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.attempt.failure import FailureCategory
from tessera.trainer.failure import (
    CollateralError,
    EntrypointError,
    RankFailure,
    UserError,
    classify,
    root_cause,
)


def failed(rank, **changes):
    return RankFailure(
        **{
            "category": FailureCategory.INTERNAL,
            "reason": "X",
            "message": "x",
            "rank": rank,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("error", "category", "reason", "collateral"),
    [
        (UserError("x", reason="DATA_EMPTY"), FailureCategory.USER, "DATA_EMPTY", False),
        (EntrypointError("x"), FailureCategory.USER, "ENTRYPOINT_FAILED", False),
        (CollateralError("x"), FailureCategory.WORKER_LOST, "ANOTHER_RANK_FAILED", True),
        (errors.UnavailableError("x"), FailureCategory.WORKER_LOST, "UNAVAILABLE", False),
        (
            RuntimeError("[gloo/transport/tcp] Connection closed by peer"),
            FailureCategory.WORKER_LOST,
            "WORKER_LOST",
            True,
        ),
        (KeyError("x"), FailureCategory.INTERNAL, "TRAINER_FAILED", False),
    ],
)
def test_what_was_raised_decides_what_follows(error, category, reason, collateral):
    failure = classify(error, 1)
    assert (failure.category, failure.reason, failure.collateral) == (category, reason, collateral)
    assert failure.rank == 1


def test_the_users_own_traceback_is_shown():
    try:
        try:
            {}["mine"]
        except KeyError as cause:
            raise EntrypointError("entrypoint raised") from cause
    except EntrypointError as error:
        failure = classify(error, 0)
    assert '{}["mine"]' in failure.traceback
    assert "EntrypointError" not in failure.traceback


def test_the_rank_that_did_it_is_blamed():
    suffering = failed(0, collateral=True)
    assert root_cause({0: suffering, 1: failed(1)}, {}).rank == 1
    assert root_cause({0: suffering}, {1: failed(1, reason="WORKER_LOST")}).rank == 1
    assert root_cause({0: suffering}, {0: failed(0)}) is suffering
    assert root_cause({}, {}).reason == "TRAINER_FAILED"
