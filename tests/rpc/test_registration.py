"""Where a Ray job finds the tickets that it was started with."""

from __future__ import annotations

import json

import pytest
from in_process import handed

from tessera import errors
from tessera.rpc.registration import JOB_CONFIG, TICKETS, exchange_tickets, handed_tickets


def test_in_its_metadata():
    assert handed_tickets(handed("a b")) == "a b"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {JOB_CONFIG: ""},
        {JOB_CONFIG: "{}"},
        {JOB_CONFIG: json.dumps({"metadata": None})},
        {JOB_CONFIG: json.dumps({"metadata": {}})},
        # Ray shows what a job's runtime environment sets in the command lines of its workers.
        {TICKETS: "a", JOB_CONFIG: json.dumps({"runtime_env": {"env_vars": {TICKETS: "a"}}})},
    ],
    ids=str,
)
def test_nowhere_else(environ):
    assert handed_tickets(environ) == ""


def test_without_one_nothing_is_asked():
    with pytest.raises(errors.UnauthenticatedError, match="only the controller") as caught:
        exchange_tickets("nowhere:1", "")
    assert caught.value.reason == "TICKET_MISSING"
