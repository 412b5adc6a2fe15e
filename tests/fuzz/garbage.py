"""The garbage of processes that make millions of objects beside a million that stay."""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 20, 20)


def settle() -> None:
    """What is there now stays to the end: the collector need not look at it over and over.

    That took an eighth of all time. Garbage of calls is collected as ever, only in larger heaps.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
