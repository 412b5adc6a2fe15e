"""Records of `logging` that tell nothing they may not, whichever handler writes them, and where."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any


def hide_in_records(mask: Callable[[str], str]) -> None:
    """Mask what is logged in this process from now on, before any handler has it.

    Ray Train gives the root logger a file of its own, so masking what is printed is not enough.

    Args:
        mask: hides in a text what nobody may read.
    """
    make = logging.getLogRecordFactory()

    def masked(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit, or that cannot be written
            message = f"{record.msg!r} (its arguments do not fit)"
        record.msg, record.args = mask(message), None
        if record.exc_info and record.exc_info[0] is not None:
            told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            # Formatters take the text where it is there already.
            record.exc_text, record.exc_info = mask(told), None
        if record.stack_info:
            record.stack_info = mask(record.stack_info)
        return record

    logging.setLogRecordFactory(masked)
