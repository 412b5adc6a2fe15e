"""A few thousand odd messages to every method, always the same; `make fuzz` sends a million."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

import pytest

from tessera import validation
from tessera.rpc.identity import Issuer
from tessera.rpc.policy.table import TABLE

from .callers import Callers
from .cases import PATHS, Case, Cases
from .messages import Maker, broken
from .processes import start_within
from .report import Report
from .world import World

SEED = 14
MESSAGES = 2500
SECONDS = 40.0


@pytest.fixture
def world():
    return World({"ray": "http://h:1", "not ray": "http://h:2", "coordinator": "h:1"})


@pytest.fixture
def callers(world):
    issuer = Issuer(Issuer.generate_key())
    return Callers(lambda: issuer, world)


def test_every_method_is_called(world, callers):
    cases = Cases(SEED, world, callers)
    assert {cases.case(number).method for number in range(MESSAGES)} == PATHS.keys()
    assert PATHS.keys() > TABLE.keys()


def test_a_case_is_always_the_same(world, callers):
    first, second = (Cases(SEED, world, callers).case(77) for _ in range(2))
    assert first.describe() == second.describe()


def test_a_case_is_sent_again_as_it_was_told(world, callers):
    case = Cases(SEED, world, callers).case(5)
    again = Case.of(json.loads(json.dumps(case.describe())), callers.shown)
    assert (again.method, again.messages, again.who) == (case.method, case.messages, case.who)


def test_good_messages_are_mostly_within_their_limits(world, callers):
    random = Random(1)
    for path in TABLE:
        method = PATHS[path]
        _, who, _ = callers.pick(path, random)
        maker = Maker(random, world.hint(who, path, "tiny"))
        made = [maker.good(method.input_type) for _ in range(60)]
        good = sum(not validation.violations(message) for message in made)
        assert good >= 12, path


def test_broken_encodings_are_the_same_again():
    assert broken(b"\x0a\x01a", Random(5)) == broken(b"\x0a\x01a", Random(5))


@pytest.mark.processes
def test_nothing_is_the_servers_fault(tmp_path, monkeypatch):
    here = Path(__file__).parent.parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (here / "plugins", here))))
    child = start_within(tmp_path / "home", SEED, MESSAGES, SECONDS)
    child.wait_ready()
    child.wait(SECONDS + 60)
    report = Report([child], SEED, SECONDS)
    assert not report.findings, report.text()
    assert not report.failed
    told = report.summary()
    assert told["messages"] > 500  # As many as there is time for, on a machine that is busy.
