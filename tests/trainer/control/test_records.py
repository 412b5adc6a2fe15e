"""What is logged has no secret in it, in no handler's file."""

from __future__ import annotations

import io
import logging

import pytest

from tessera.trainer.control.records import hide_in_records
from tessera.trainer.mask import Mask

SECRET = "planted-0123456789"


@pytest.fixture
def written():
    """A logger's handler that was there before, as Ray's is, and what it wrote."""
    before, stream, mask = logging.getLogRecordFactory(), io.StringIO(), Mask()
    logger, handler = logging.getLogger("tests.records"), logging.StreamHandler(stream)
    logger.addHandler(handler)
    hide_in_records(mask)
    mask.learn([SECRET])
    yield logger, stream
    logging.setLogRecordFactory(before)
    logger.removeHandler(handler)


def test_messages_arguments_and_tracebacks(written):
    logger, stream = written
    logger.warning("in %s", {"token": SECRET})
    logger.warning(f"whole {SECRET} %")  # noqa: G004 - people do
    logger.warning("%d", SECRET)
    try:
        int(SECRET)
    except ValueError:
        logger.exception("raised", stack_info=True)
    told = stream.getvalue()
    assert SECRET not in told
    assert "in {'token': '***'}" in told
    assert "whole *** %" in told
    assert "its arguments do not fit" in told
    assert "ValueError: invalid literal for int() with base 10: '***'" in told
    assert told.count("Traceback") == 1
