"""The Dockerfiles, as far as that can be told without a Docker engine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = ["Dockerfile.controller", "Dockerfile.ray"]


def instructions(name: str) -> list[tuple[str, str]]:
    """(keyword, arguments) of every instruction, continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / name).read_text()).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_is_there_and_let_in(name: str) -> None:
    """Each source exists and `.dockerignore` admits it."""
    admitted = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    sources = {
        source
        for keyword, arguments in instructions(name)
        if keyword == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    assert {"services", "shared", "pyproject.toml", "constraints.txt"} <= sources
    assert sources <= admitted
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize("name", FILES)
def test_it_runs_as_nobody_special(name: str) -> None:
    """The user of the last stage is the one that the chart runs pods as."""
    users = [arguments for keyword, arguments in instructions(name) if keyword == "USER"]
    pod = (ROOT / "charts/tessera/templates/_helpers.tpl").read_text()
    user, group = re.search(r"runAsUser: (\d+)\s+runAsGroup: (\d+)", pod).groups()
    assert users == [f"{user}:{group}"]
    assert f"--uid {user} " in (ROOT / name).read_text()


@pytest.mark.parametrize("name", FILES)
def test_stages_share_one_plain_base(name: str) -> None:
    steps = instructions(name)
    bases = [arguments for keyword, arguments in steps if keyword == "FROM"]
    assert bases == ["${BASE} AS build", "${BASE}"]
    (base,) = [arguments for keyword, arguments in steps if keyword == "ARG"]
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", base)


def test_extras_that_are_installed_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {name: re.findall(r"whl\)\[(\w+)\]", (ROOT / name).read_text()) for name in FILES}
    assert wanted == {"Dockerfile.controller": ["controller"], "Dockerfile.ray": ["worker"]}
    for (extra,) in wanted.values():
        assert extra in project["optional-dependencies"]
    light = " ".join([*project["dependencies"], *project["optional-dependencies"]["controller"]])
    assert not re.search(r"\b(torch|ray)\b", light)


def test_versions_agree() -> None:
    """Image, chart and constraints name one Ray and one Tessera."""
    pinned = (ROOT / "constraints.txt").read_text()
    values = (ROOT / "charts/tessera/values.yaml").read_text()
    (ray,) = re.findall(r"(?m)^ray==(\S+)", pinned)
    assert f"rayVersion: {ray}\n" in values
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = (ROOT / "charts/tessera/Chart.yaml").read_text()
    assert f"appVersion: {project['version']}\n" in chart
