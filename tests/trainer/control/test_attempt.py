"""How an attempt ends."""

from __future__ import annotations

from tessera.attempt.failure import FailureCategory
from tessera.trainer.control.attempt import AttemptRecord, Ended
from tessera.trainer.failure import RankFailure

FAILED = RankFailure(category=FailureCategory.INTERNAL, reason="X", message="x", rank=1)


def test_an_attempt_ends_well_only_if_nobody_failed():
    record = AttemptRecord(job="j", attempt=1, total_steps=5, world_size=2)
    assert record.ended({}).failure is not None
    record.outcome = Ended(version=4)
    assert record.ended({}) == Ended(version=4)
    record.rank_failures[1] = FAILED
    assert record.ended({}).failure == FAILED
