"""Waiting as long as something moves."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.local.patience import BUSY, WINDOW_SECONDS, Patience, Signs, signs_of

STEP = 2.0


def waited(signs, *, quiet=20.0, most=1000.0):
    """Seconds until it is given up, looking every STEP; None: it lasts."""
    patience = Patience(quiet=quiet, most=most, begun=100.0)
    for index, sign in enumerate(signs):
        if not patience.lasts(100.0 + STEP * index, sign):
            return STEP * index
    return None


def test_nothing_moves():
    assert waited([Signs()] * 100) == 20.0


def test_what_only_idles_is_not_progress():
    assert waited([Signs(cpu=0.05 * STEP * i) for i in range(100)]) < 30


def test_a_log_that_grows_new_processes_or_work_are():
    assert waited([Signs(logged=i) for i in range(100)]) is None
    assert waited([Signs(processes=frozenset(range(i))) for i in range(100)]) is None
    assert waited([Signs(cpu=2 * BUSY * STEP * i) for i in range(100)]) is None


def test_processes_that_only_end_are_not():
    assert waited([Signs(processes=frozenset(range(100 - i))) for i in range(100)]) == 20.0


def test_there_is_an_end_all_the_same():
    assert waited([Signs(logged=i) for i in range(1000)], most=500.0) == 500.0


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.floats(5, 50))
def test_it_ends_so_long_after_the_last_growth(grows, quiet):
    signs, logged = [], 0
    for grown in grows:
        logged += grown
        signs.append(Signs(logged=logged))
    signs += [signs[-1]] * 100
    ended = waited(signs, quiet=quiet)
    last = 0.0
    for index, sign in enumerate(signs):
        before = signs[index - 1].logged if index else 0
        if sign.logged != before:
            last = STEP * index
        elif STEP * index - last >= quiet:
            break
    assert ended is not None
    assert last + quiet <= ended < last + quiet + STEP + 1e-6


@pytest.mark.processes
def test_signs_are_those_of_real_processes_and_logs(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"12345")
    program = "import time; t=time.process_time()\nwhile time.process_time() < t + 0.3: pass\n"
    program += "print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as busy:
        busy.stdout.readline()
        signs = signs_of([psutil.Process(busy.pid)], [log, tmp_path / "none"])
        gone = psutil.Process(busy.pid)
        busy.kill()
    assert (signs.logged, signs.processes) == (5, frozenset({busy.pid}))
    assert signs.cpu >= 0.25
    assert signs_of([gone], []) == Signs()
    assert WINDOW_SECONDS > STEP
