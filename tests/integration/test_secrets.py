"""A secret that a job names is in its ranks, and after it nowhere else.

It is planted where the pool keeps secrets, used, printed and raised; then the store, the blobs, the
parameters, all logs, the history, Ray's interface and folders, and the command lines are searched.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest
from platforms import Platform, command_line, tiny

from tessera.api.controller.v1 import job_pb2 as job_pb
from tessera.local import ray_api
from tessera.local.process import members

from . import unkind

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

FILE = "planted-file-0123456789"
CODE = """
import hashlib, json, logging, os, subprocess, sys

NAMES = ("OF_ENV", "OF_FILE", "OF_MOUNT")

def make(context):
    values = {name: os.environ[name] for name in NAMES}
    for name, value in values.items():
        print("DIGEST", name, hashlib.sha256(value.encode()).hexdigest())
        print("printed", name, value)
        print("beside", name, repr(value), file=sys.stderr)
        logging.getLogger("mine").warning("warned %s %s", name, value)
        subprocess.run(["sh", "-c", f"echo child {name} ${name}"], check=True)
    print("others", sorted(name for name in os.environ if name.startswith("TESSERA_SECRET_")))
    print(json.dumps(dict(os.environ)))
    if context.spec["name"] == "raising":
        raise LookupError(f"401 for {values['OF_ENV']}\\n{values['OF_FILE']}")
"""
SECRETS = {
    "OF_ENV": {"env": "PLANTED"},
    "OF_FILE": {"file": "hub/token"},
    "OF_MOUNT": {"kubernetes": {"name": "mounted", "key": "key"}},
}
VALUES = {"OF_ENV": unkind.SECRET, "OF_FILE": FILE, "OF_MOUNT": f"{FILE}-mounted"}
RAY = (
    "/api/jobs/",
    "/api/train/v2/runs/v1",
    "/events",
    "/logical/actors",
    "/nodes?view=summary",
    *(f"/api/v0/{name}?detail=1&limit=10000" for name in ("actors", "tasks", "workers", "jobs")),
    *(f"/api/v0/{name}?detail=1&limit=10000" for name in ("runtime_envs", "nodes", "objects")),
)


@pytest.fixture(scope="module")
def jobs(platform, files, tmp_path_factory) -> dict[str, str]:
    """Ids of a job that used its secrets, and of three that failed; by name."""
    folder = platform.home.secrets_path / "default"
    for name, value in (("hub/token", f"{FILE}\n"), ("mounted/key", VALUES["OF_MOUNT"])):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(value)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    code = tmp_path_factory.mktemp("secrets") / "using.py"
    code.write_text(textwrap.dedent(CODE))
    used = {"entrypoint": "using:make", "code": str(code), "secrets": SECRETS, "steps": 4}
    used["resources"] = {"workers": 1}
    gone = {"GONE": {"env": "GONE"}, **SECRETS}
    specs = [
        tiny("using", files, **used, every=4),
        tiny("raising", files, **used, every=4),
        tiny("missing", files, **{**used, "secrets": gone}),
    ]
    made = {spec["name"]: platform.submit(spec) for spec in specs}
    for job in made.values():
        platform.finish(job)
    return made


def whole_log(platform: Platform, job: str) -> list[str]:
    return platform.run("logs", job).stdout.splitlines()


def test_ranks_have_them(platform, jobs):
    platform.succeed(jobs["using"])
    told = "\n".join(whole_log(platform, jobs["using"]))
    for name, value in VALUES.items():
        assert f"DIGEST {name} {hashlib.sha256(value.encode()).hexdigest()}" in told
        for word in ("printed", "child"):
            assert f"{word} {name} ***" in told
        assert f"beside {name} '***'" in told
        assert f"warned {name} ***" in told
    assert "others []" in told


def test_a_failure_tells_none(platform, jobs):
    failure = platform.fail(jobs["raising"])
    assert failure.reason == "ENTRYPOINT_FAILED"
    assert "401 for ***" in failure.message
    assert "LookupError: 401 for ***" in failure.traceback


def test_one_that_is_not_there_fails_the_job_at_once(platform, jobs):
    failure = platform.fail(jobs["missing"])
    assert failure.reason == "SECRET_NOT_FOUND", platform.describe(jobs["missing"])
    assert failure.category == job_pb.FAILURE_CATEGORY_USER
    assert "secrets[GONE]" in failure.message
    assert "`GONE`" in failure.message
    assert len(platform.job(jobs["missing"]).attempts) == 1


def places_of(folder: Path, secret: bytes, apart_from: Path) -> list[str]:
    """Files in which it is."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and apart_from not in path.parents:
            try:
                if secret in path.read_bytes():
                    found.append(str(path))
            except OSError:
                continue  # It is gone.
    return found


def answer(platform: Platform, path: str) -> bytes:
    """What Ray's dashboard says at a path."""
    try:
        return ray_api.get(platform.state.dashboard + path, platform.home.ray_token_path, 60.0)
    except HTTPError as error:
        raise AssertionError(f"{path}: {error.code} {error.read()[:500]!r}") from error


def test_they_are_nowhere_else(platform, jobs):
    state = platform.state
    kept = platform.home.secrets_path
    folders = [platform.home.path, Path(state.ray_temp_dir)]
    answers = {path: answer(platform, path) for path in RAY}
    lines = {job: "\n".join(whole_log(platform, job)) for job in jobs.values()}
    history = {job: f"{platform.job(job)}{platform.events(job)}" for job in jobs.values()}
    processes = members(state.platform, state.leaders)
    commands = [command_line(process) for process in processes]
    assert json.loads(answers["/api/jobs/"])
    for value in VALUES.values():
        secret = value.encode()
        assert places_of(kept, b"planted-file", Path("/nowhere")), "the search does find"
        assert [p for folder in folders for p in places_of(folder, secret, kept)] == []
        assert [path for path, answer in answers.items() if secret in answer] == []
        assert [job for job, text in (lines | history).items() if value in text] == []
        assert [command for command in commands if value in command] == []
    controller = psutil.Process(state.processes["controller"].pid)
    assert unkind.SECRET not in controller.environ().values()
