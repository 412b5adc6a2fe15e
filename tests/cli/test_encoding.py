"""Texts of any locale: written as far as a terminal can, refused by name where they are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tessera.cli.app import decoded

pytestmark = pytest.mark.processes

TESSERA = Path(sys.executable).with_name("tessera")
LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "coerced": {"LC_ALL": "C"},
    "none": {},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin": {"PYTHONIOENCODING": "latin-1"},
}


def run(*arguments, locale="none", given=None, **kwargs):
    env = {n: v for n, v in os.environ.items() if n not in {"LANG", "LC_ALL", "LC_CTYPE"}}
    return subprocess.run(
        [str(TESSERA), *arguments],
        env={**env, "COLUMNS": "200", **LOCALES[locale]},
        input=given,
        capture_output=True,
        check=False,
        **kwargs,
    )


@pytest.mark.parametrize("locale", LOCALES)
def test_names_and_texts_of_any_letters(tmp_path, locale):
    """The message names the file, as far as the terminal has letters for it."""
    done = run("submit", "prüfung.yaml", locale=locale, cwd=tmp_path)
    assert done.returncode == 2
    encoding = {"ascii": "ascii", "latin": "latin-1"}.get(locale, "utf-8")
    shown = "prüfung.yaml".encode(encoding, "backslashreplace")
    assert done.stderr == b"tessera: " + shown + b": there is no such file\n"
    (tmp_path / "prüfung.yaml").write_text("nome: é中\n")
    done = run("submit", "prüfung.yaml", locale=locale, cwd=tmp_path)
    assert b"unknown field `nome`" in done.stderr


ARGUMENTS = [
    (["generate", "m", b"caf\xe9"], "argument 3"),
    (["classify", b"\xff", "x"], "argument 2"),
    (["submit", b"job\xff.yaml"], "argument 2"),
    (["submit", "job.yaml", "--set", b"name=\xff"], "--set"),
    (["submit", "job.yaml", b"--set=name=\xff"], "--set"),
    (["generate", "m", "--file", b"\xff"], "--file"),
    ([b"--home=/tmp/\xff", "jobs"], "--home"),
    (["jobs", "--home", b"/tmp/\xff"], "--home"),
    ([b"\xff"], "argument 1"),
    (["import", "folder", "--set", b"a\xff"], "--set"),
]


@pytest.mark.parametrize(
    ("arguments", "name", "locale"),
    [
        *((*case, "none") for case in ARGUMENTS),
        *((*ARGUMENTS[0], locale) for locale in LOCALES if locale != "none"),
    ],
    ids=str,
)
def test_an_argument_that_is_no_text(tmp_path, arguments, name, locale):
    given = [a if isinstance(a, bytes) else os.fsencode(a) for a in arguments]
    done = run(*given, locale=locale, cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"tessera: {name}: `")
    assert lines[0].endswith("is not UTF-8")


def test_a_home_that_is_no_text(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", os.fsdecode(b"/tmp/\xff"))
    assert run("jobs").stderr == b"tessera: --home: `/tmp/\\xff` is not UTF-8\n"


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["generate", "m", "-"], "stdin:2"),
        (["generate", "m", "--file", "-"], "stdin:2"),
        (["embed", "m", "--file", "-"], "stdin:2"),
        (["answer", "m", "--question", "q", "--context-file", "-"], "stdin:2"),
        (["submit", "-"], "stdin:2:4"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_input_that_is_no_text(tmp_path, platform, arguments, place):
    done = run("--home", str(platform.home), *arguments, given=b"one\ncaf\xe9\n")
    assert done.returncode == 2
    assert done.stderr.startswith(b"tessera: " + place.encode() + b": ")
    assert b"not UTF-8" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_spec_from_stdin(tmp_path, platform):
    spec = b"name: a\nmodel: {family: gpt}\ndata: {files: [text.txt]}\n"
    (tmp_path / "text.txt").write_text("some words\n")
    home = ("--home", str(platform.home))
    done = run(*home, "submit", "-", "--dry-run", given=spec, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"name: a" in done.stdout
    done = run(*home, "submit", "-", given=spec.replace(b"family", b"famly"), cwd=tmp_path)
    assert done.stderr.startswith(b"tessera: stdin:2:9: unknown field `famly`")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(tmp_path, closed):
    program = f"{TESSERA} submit - {closed}; exec {TESSERA} schema {closed}"
    done = subprocess.run(["sh", "-c", program], capture_output=True, check=False, stdin=None)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_arguments_that_are_text_stay_as_they_are():
    assert decoded(["a", "é", "中", "--x=ü", ""]) == ["a", "é", "中", "--x=ü", ""]
