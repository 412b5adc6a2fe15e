"""pyarrow, which the light client does without until a file needs it."""

from __future__ import annotations

import importlib
from typing import Any

from tessera import errors


def arrow(what: str, module: str = "pyarrow") -> Any:
    """The library, or one of its modules; it is slow to import.

    Args:
        what: needs it, for the message.
        module: to import.

    Raises:
        FailedPreconditionError: PYARROW_NOT_INSTALLED.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise errors.FailedPreconditionError(
            f"reading {what} here needs pyarrow; install it, e.g. pip install 'tessera[parquet]'",
            reason="PYARROW_NOT_INSTALLED",
        ) from None
