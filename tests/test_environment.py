"""What a shell says reaches no process of the platform, but for what is meant for it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import files

from tessera.environment import FIXED, LOOPBACK, hermetic, leave_working_directory

NAMES = st.sampled_from([
    "PATH", "HOME", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "no_grpc_proxy",
    "PYTHONPATH", "PYTHONWARNINGS", "PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL", "LANG",
    "RAY_ADDRESS", "RAY_grpc_enable_http_proxy", "PYTHONSAFEPATH", "PYTHONINSPECT", "OTHER",
])  # fmt: skip
VALUES = st.text(st.sampled_from("abc.,:/* 01"), max_size=20)


@given(st.dictionaries(NAMES, VALUES))
def test_of_whatever_shell(environ):
    made = hermetic(environ)
    assert FIXED.items() <= made.items()
    assert made["no_proxy"] == made["NO_PROXY"]
    assert made["no_proxy"] == "*" or set(LOOPBACK) <= set(made["no_proxy"].split(","))
    for name in ("no_proxy", "NO_PROXY"):
        named = {host.strip() for host in environ.get(name, "").split(",")} - {""}
        assert made["no_proxy"] == "*" or named <= set(made["no_proxy"].split(","))
    assert all(entry.startswith("/") for entry in made.get("PYTHONPATH", "/").split(":"))
    assert not {"RAY_ADDRESS", "PYTHONWARNINGS", "PYTHONINSPECT"} & set(made)
    kept = {"PATH", "HOME", "OTHER", "http_proxy", "HTTP_PROXY"} & set(environ)
    assert all(made[name] == environ[name] for name in kept)
    assert hermetic(made) == made


SHADOWS = ("grpc", "queue", "emoji", "ray", "yaml", "typing", "random", "tessera", "sitecustomize")


@pytest.mark.processes
@pytest.mark.parametrize("path", ["", ":", ".", "..:here", "relative/folder:"])
def test_no_module_of_the_working_directory_is_imported(tmp_path, path):
    here = tmp_path / "here"
    here.mkdir()
    for folder in (tmp_path, here):
        for name in SHADOWS:
            (folder / f"{name}.py").write_text(f"print('trapped by {name}')")
    program = "import queue, random, typing, yaml, grpc, tessera.errors; print('clean')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=here,
        env=hermetic({**os.environ, "PYTHONPATH": path}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "clean\n"


@pytest.mark.processes
@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "no_SUCH.locale", "PYTHONIOENCODING": "latin-1:strict"},
        {},
    ],
    ids=str,
)
def test_a_process_writes_whatever_it_is_given(locale):
    environ = {n: v for n, v in os.environ.items() if n not in {"LANG", "LC_ALL", "LC_CTYPE"}}
    done = subprocess.run(
        [sys.executable, "-c", r"print('caf\u00e9 \u4e2d \udce9')"],
        env=hermetic({**environ, **locale}),
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == "café 中 \\udce9\n"


def test_a_driver_hands_on_no_folder_of_anybodys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leave_working_directory()
    assert str(Path.cwd()) in {str(Path(entry).resolve()) for entry in sys.path}
    assert (Path.cwd() / "os.py").exists()


def calls_of(names: set[str]) -> dict[str, set[str]]:
    """Files of ours that name any of these, as `module.name`, and what they name."""
    said = {file: words & names for file, words in words_of_files().items()}
    return {file: words for file, words in said.items() if words}


@cache
def words_of_files() -> dict[str, set[str]]:
    """Every name of each file of ours, as `module.name` where it is an attribute."""
    return {
        file: {
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Attribute, ast.Name))
        }
        for file, tree in files().items()
    }


def test_whatever_starts_on_a_cluster_writes_for_its_owner_only():
    """A local platform's processes get their umask where they are started; a pool's set it."""
    mains = {name for name in files() if name.endswith("/__main__.py")}
    wanted = mains - {"shared/tessera/local/__main__.py", "shared/tessera/cli/__main__.py"}
    wanted |= {
        "services/tessera/inference/actor.py",
        "services/tessera/parameters/actor.py",
        "services/tessera/trainer/worker.py",
    }
    assert set(calls_of({"keep_private"})) == wanted


def test_channels_are_made_in_one_place():
    makers = {
        f"grpc.{kind}{name}"
        for kind in ("", "aio.")
        for name in ("insecure_channel", "secure_channel")
    }
    assert set(calls_of(makers)) == {"shared/tessera/rpc/channel.py"}


def test_http_is_spoken_in_three_places():
    """Those inside the platform refuse proxies; what asks an OIDC issuer follows them, as do the
    libraries that fetch data of users.
    """
    speakers = {
        "httpx.AsyncClient", "httpx.Client", "httpx.get", "httpx.post", "httpx.request",
        "requests.get", "requests.post", "requests.Session", "aiohttp.ClientSession",
        "urllib.request.urlopen", "urllib.request.build_opener", "http.client.HTTPConnection",
    }  # fmt: skip
    found = calls_of(speakers)
    assert set(found) == {
        "shared/tessera/local/ray_api.py",
        "services/tessera/controller/pools/launcher.py",
        "services/tessera/controller/oidc/issuer_http.py",
    }


def test_processes_are_started_in_one_place():
    starters = {
        "subprocess.Popen", "subprocess.run", "subprocess.check_call", "subprocess.check_output",
        "os.system", "os.spawnv", "os.posix_spawn", "asyncio.create_subprocess_exec",
        "asyncio.create_subprocess_shell",
    }  # fmt: skip
    found = set(calls_of(starters))
    assert "shared/tessera/local/child.py" in found
    # The guard is no part of a platform, but makes its environment in the same way; what prints a
    # token of an issuer's is the user's own command.
    assert found <= {
        "shared/tessera/local/child.py",
        "shared/tessera/local/guard.py",
        "shared/tessera/client/oidc.py",
    }
