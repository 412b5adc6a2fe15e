"""What a disk does that is no defect of ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tessera import errors


@contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk is the platform's state, not a defect."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise errors.ResourceExhaustedError(
                "the shard's disk is full; free some space or lower the disk cap",
                reason="DISK_FULL",
                retry_after=10.0,
            ) from None
        raise
