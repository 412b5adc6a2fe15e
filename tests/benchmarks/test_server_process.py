"""A benchmark's server is waited for, and ends with what is measured."""

from __future__ import annotations

import textwrap

import psutil
import pytest

pytestmark = pytest.mark.processes

SERVER = """
    import sys, time
    print("something else", flush=True)
    assert sys.argv[1] == "--serve"
    print('READY {"folder": "%s", "more": "%s"}' % (sys.argv[2], sys.argv[3]), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def module(load):
    return load("server_process")


def script(folder, text):
    path = folder / "serve.py"
    path.write_text(textwrap.dedent(text))
    return path


def test_it_is_ready_and_ends(module, tmp_path):
    with module.served(script(tmp_path, SERVER), ["--quick"]) as server:
        assert server.told == {"folder": str(server.folder), "more": "--quick"}
        assert server.folder.is_dir()
        assert psutil.Process(server.pid).is_running()
    assert not psutil.pid_exists(server.pid)
    assert not server.folder.exists()


def test_it_ends_with_an_error(module, tmp_path):
    with pytest.raises(KeyError), module.served(script(tmp_path, SERVER), [""]) as server:
        raise KeyError
    assert not psutil.pid_exists(server.pid)


def test_one_that_ends_early_is_told(module, tmp_path):
    with (
        pytest.raises(SystemExit, match="did not start"),
        module.served(script(tmp_path, "print('READY?')")),
    ):
        pass
