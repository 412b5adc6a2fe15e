"""A pytest plugin: a skip that nobody expects fails the run where `CI` is set.

A skipped test proves nothing, and nobody reads a green run for what it left out. What may be
skipped, and why, is listed here.
"""

from __future__ import annotations

import os
import re

import pytest

EXPECTED = (
    # A machine without an accelerator has nothing to run these on.
    re.compile(r"no (CUDA|TPU) device"),
    # An API server's binaries are not part of the development environment.
    re.compile(r"KUBEBUILDER_ASSETS is not set"),
    # Neither is Node, nor a way to its packages: only a client's example needs them.
    re.compile(r"Node is not installed|npm reaches no registry"),
    # PostgreSQL's server is a program of its own, which pip does not bring.
    re.compile(r"no PostgreSQL server"),
    # Containers may not make namespaces, which stand for machines that this one is not.
    re.compile(r"no namespaces: "),
)

_unexpected: list[str] = []


def reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why it was skipped, as the test said it."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    if not any(pattern.search(reason(report)) for pattern in EXPECTED):
        _unexpected.append(f"{report.nodeid}: {reason(report)}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    note(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") and _unexpected and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _unexpected:
        terminalreporter.section("unexpected skips")
        for line in _unexpected:
            terminalreporter.line(line)
