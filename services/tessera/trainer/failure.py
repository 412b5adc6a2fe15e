"""Why an attempt failed: what follows from it, and whose fault it is. Pure."""

from __future__ import annotations

import re
import traceback as tracebacks
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from tessera import errors
from tessera.attempt.failure import Failure, FailureCategory
from tessera.lines import first_line

MAX_TRACEBACK = 16_000
"""Characters of a traceback that are kept; its end says most."""

_SUFFERED = re.compile(
    r"connection closed by peer|connection reset by peer|connection refused|broken pipe"
    r"|gloo[/\\]transport|timed out waiting|ncclremoteerror|nccl.*(abort|remote process)"
    r"|store->get|socket (closed|timeout)",
    re.IGNORECASE,
)


class UserError(errors.InvalidArgumentError):
    """The user's spec, data or code is at fault; trying again would not help."""


class EntrypointError(UserError):
    """The user's own code raised; the cause has its traceback."""

    reason = "ENTRYPOINT_FAILED"


class CollateralError(errors.AbortedError):
    """This rank ends because another one failed."""

    reason = "ANOTHER_RANK_FAILED"


class FencedError(errors.AbortedError):
    """A newer attempt has taken over."""

    reason = "ATTEMPT_FENCED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFailure(Failure):
    """A failure that a rank tells.

    Args:
        collateral: the rank suffered from another one's failure.
    """

    collateral: bool = False

    @classmethod
    def of(cls, failure: Failure, *, collateral: bool) -> RankFailure:
        """A failure as a rank's."""
        told = {field.name: getattr(failure, field.name) for field in fields(Failure)}
        return cls(**told, collateral=collateral)


def classify(
    error: BaseException,
    rank: int,
    *,
    out_of_memory: bool = False,
    mask: Callable[[str], str] = str,
) -> RankFailure:
    """The failure that an exception on a rank stands for.

    Args:
        error: what was raised.
        rank: where.
        out_of_memory: the device says that memory ran out.
        mask: hides in what is said what nobody may read; before any of it is cut.
    """
    said = first_line(mask(str(error))) or type(error).__name__
    category, reason, message = FailureCategory.INTERNAL, "TRAINER_FAILED", ""
    collateral = isinstance(error, CollateralError)
    if out_of_memory:
        category, reason = FailureCategory.OUT_OF_MEMORY, "OUT_OF_MEMORY"
        message = (
            f"rank {rank} ran out of memory; lower `train.batch_size`, raise "
            f"`train.grad_accumulation` or `resources.workers`: {said}"
        )
    elif isinstance(error, errors.TesseraError):
        category, reason, message = _category_of(error), error.reason, mask(error.message)
    elif is_collateral(str(error)):
        category, reason, collateral = FailureCategory.WORKER_LOST, "WORKER_LOST", True
        message = f"rank {rank} lost contact with another worker: {said}"
    if not message:
        message = f"{type(error).__name__}: {said}"
    return RankFailure(
        category=category,
        reason=reason,
        message=message,
        rank=rank,
        traceback=mask(_traceback_of(error))[-MAX_TRACEBACK:],
        collateral=collateral,
    )


def is_collateral(message: str) -> bool:
    """Whether a collective failed because the other side is gone."""
    return bool(_SUFFERED.search(message))


def root_cause(
    rank_failures: Mapping[int, RankFailure], lost_ranks: Mapping[int, Failure]
) -> Failure:
    """The failure that explains the end of the ranks.

    Args:
        rank_failures: what ranks said themselves.
        lost_ranks: ranks that ended without a word, as the launcher describes them.
    """
    own: list[Failure] = [each for each in rank_failures.values() if not each.collateral]
    silent = [failure for rank, failure in lost_ranks.items() if rank not in rank_failures]
    for candidates in (own, silent, list(rank_failures.values()), list(lost_ranks.values())):
        if candidates:
            return min(candidates, key=lambda failure: failure.rank)
    return Failure(
        category=FailureCategory.INTERNAL,
        reason="TRAINER_FAILED",
        message="the workers ended early",
    )


def _category_of(error: errors.TesseraError) -> FailureCategory:
    if isinstance(error, errors.InvalidArgumentError):
        return FailureCategory.USER
    if isinstance(error, errors.UnavailableError | errors.DeadlineExceededError | CollateralError):
        return FailureCategory.WORKER_LOST
    return FailureCategory.INTERNAL


def _traceback_of(error: BaseException) -> str:
    shown = error.__cause__ if isinstance(error, EntrypointError) and error.__cause__ else error
    mistake = isinstance(error, errors.InvalidArgumentError)
    if mistake and not isinstance(error, EntrypointError):
        return ""
    return "".join(tracebacks.format_exception(shown))
