"""The user's mistakes: one readable line, exit code 2, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest

from tessera.cli import app
from tessera.client import Client


def assert_told(result, code, words):
    assert result.code == code, result.err
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("tessera: ")
    assert "Traceback" not in result.err
    assert words in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submti", "x.yaml"], "there is no command `submti`; did you mean `submit`?"),
        (["xyzzy"], "there is no command `xyzzy`"),
        (["submit"], "Missing argument"),
        (["submit", "nope.yaml"], "nope.yaml: there is no such file"),
        (["submit", "x.yaml", "--wat"], "No such option: --wat"),
        (["jobs", "--limit", "many"], "--limit"),
        (["--output", "xml", "jobs"], "'xml' is not one of 'text', 'json'"),
        (["jobs"], "no platform runs in"),
        (["deploy", "x"], "Missing option '--model'"),
        (["generate"], "Missing argument"),
        (["generate", "x"], "there is no text; give some"),
        (["export", "x"], "Missing argument"),
        (["export", "x@y", "d"], "no platform runs in"),
        (["status"], "no platform runs in"),
        (["up", "--disk-cap", "lots"], "--disk-cap"),
        (["up", "--parameter-replicas", "3"], "--parameter-replicas"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_without_a_platform(tessera, arguments, words):
    assert_told(tessera(*arguments), 2, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "train: {stpes: 5}",
            "job.yaml:4:9: unknown field `stpes` in `train`; did you mean `steps`?",
        ),
        ("modle: {}", "job.yaml:4:1: unknown field `modle`; did you mean `model`?"),
        ("train: {steps: many}", "job.yaml:4:16: `train.steps` must be a whole number"),
        ("train: [", "job.yaml:4:9: this is not YAML"),
        ("train: {steps: -5}", "job.yaml:4:16: train.steps: must be"),
        (
            "train: {steps: 1, warmup_steps: 2}",
            "job.yaml:4:33: train.warmup_steps: a warm-up of 2 steps is longer",
        ),
        ("name: again", "job.yaml:4:1: `name` is there twice, first in line 1"),
        (
            "task: {kind: translation}",
            "job.yaml:4:14: task.kind: a gpt has no task `translation`; it has language_modeling",
        ),
        ("task: {kind: chat}", "job.yaml:4:14: task.kind: a gpt has no task `chat`"),
        (
            "task: {kind: sentiment}",
            "job.yaml:3:7: data.format: sentiment cannot be learned from `text`; it takes jsonl",
        ),
        (
            "task:\n  label_smoothing: 0.1\n  labels: [a, b]",
            "job.yaml:6:11: task.labels: it means nothing for language_modeling",
        ),
        (
            "tuning: {method: full, lora: {rank: 8}}",
            "job.yaml:4:30: tuning.lora: `full` has no adapters; set tuning.method to lora",
        ),
        ("tuning: {lora: {rnak: 8}}", "unknown field `rnak` in `tuning.lora`; did you mean `rank`"),
        (
            "tuning: {method: frozen, freeze_steps: 2000}",
            "job.yaml:4:40: tuning.freeze_steps: a run of 1000 steps never comes to step 2000",
        ),
        (
            "tokenizer: {vocab_size: 100}",
            "job.yaml:4:25: tokenizer.vocab_size: a byte_bpe tokenizer of a gpt takes at least 257",
        ),
    ],
)
def test_bad_file_needs_no_platform(tessera, job_file, text, words):
    assert_told(tessera("submit", job_file(text)), 2, words)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.family=gtp", "--set model.family=gtp: model.family: there is no family `gtp`"),
        ("model.heads=5", "--set model.heads=5: model.heads: 5 heads do not divide a width of"),
        ("model.kv_heads=3", "--set model.kv_heads=3: model.kv_heads: 3 heads of keys and values"),
        ("model.share_embeddings=true", "model.share_embeddings: a gpt has no encoder beside"),
        ("model.init={encoder: a}", "model.init.encoder: a gpt has no encoder"),
        ("data.header=true", "--set data.header=true: data.header: `text` has no such line"),
        ("data.columns.txt=a", "data.columns[txt]: language_modeling has no role `txt`"),
        ("data.format=parallel", "data.format: language_modeling cannot be learned from"),
        ("data.files=['dataset://a/b/c']", "`dataset://a/b/c` is not dataset://OWNER/NAME"),
        ("model.layers=-1", "--set model.layers=-1: model.layers: must be"),
        ("train.lr", "--set train.lr: write it as key=value"),
    ],
)
def test_bad_override(tessera, job_file, override, words):
    assert_told(tessera("submit", job_file(), "--set", override), 2, words)


def test_local_data_that_is_missing(on, job_file, tmp_path):
    path = job_file().replace("job.yaml", "other.yaml")
    (tmp_path / "other.yaml").write_text(
        "name: a\nmodel: {family: gpt}\ndata:\n  files:\n    - nope.txt\n"
    )
    assert_told(on("submit", path), 2, "other.yaml:5:7: data.files[0]: there is no file `nope.txt`")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["job", "nope"], "nope"),
        (["logs", "nope"], "nope"),
        (["watch", "nope"], "nope"),
        (["metrics", "nope"], "nope"),
        (["cancel", "nope"], "nope"),
        (["jobs", "--filter", "state=WALKING"], "WALKING"),
        (["undeploy", "nope"], "nope"),
        (["generate", "nope", "x"], "nope"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_things_that_do_not_exist(on, arguments, words):
    assert_told(on(*arguments), 2, words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["versions", "nope"], "nope"),
        (["export", "nope", "out"], "nope"),
        (["export", "tiny@99", "out"], "99"),
        (["export", "tiny@x", "out"], "`tiny@x` names no version"),
        (["deploy", "d", "--model", "nope"], "nope"),
        (["deploy", "d", "--model", "tiny@99"], "99"),
        (["deploy", "D!", "--model", "tiny"], "spec.name"),
        (["deploy", "d", "--model", "tiny", "--replicas", "0"], "replicas"),
        (["deploy", "d", "--model", "tiny", "--accelerator", "H100:many"], "many"),
        (["generate", "tiny", "x" * 500], "context"),
        (["generate", "tiny", "x", "--max-tokens", "0"], "max_tokens"),
        (["generate", "tiny", "x", "--temperature", "-1"], "temperature"),
        (["generate", "tiny", ""], "empty"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_requests_about_models(on, served, arguments, words):
    assert_told(on(*arguments), 2, words)


def test_submit_is_refused_by_the_controller_with_its_place(on, job_file):
    assert_told(on("submit", job_file("queue: fast")), 2, "job.yaml:4:8: queue: ")
    text = "model: {family: gpt, init: {from: nope@3}}"
    path = job_file()
    with open(path, "w") as file:  # noqa: PTH123 - a text from the fixture
        file.write(f"name: a\n{text}\ndata: {{files: ['s3://a/b']}}\n")
    result = on("submit", path)
    assert result.code in {1, 2}
    assert result.err.startswith("tessera: ")
    assert result.err.count("\n") == 1


def test_request_id_with_another_body(on, job_file, client):
    first = on(
        "submit", job_file("publish: {set: rid}"), "--request-id", "cli-1", "--output", "json"
    )
    again = on(
        "submit", job_file("publish: {set: rid}"), "--request-id", "cli-1", "--output", "json"
    )
    assert first.code == again.code == 0
    assert first.json["id"] == again.json["id"]
    other = on("submit", job_file("publish: {set: rid2}"), "--request-id", "cli-1")
    assert_told(other, 2, "cli-1")
    client.jobs.cancel(first.json["id"])


def test_the_platform_is_at_fault(tessera, monkeypatch):
    monkeypatch.setattr("tessera.cli.connect.Client", partial(Client, patience=0.1))
    result = tessera("--address", "127.0.0.1:1", "jobs")
    assert_told(result, 1, "no controller answers at 127.0.0.1:1")


def test_a_wrong_token(tessera, platform, monkeypatch):
    monkeypatch.setenv("TESSERA_TOKEN", "nonsense")
    assert_told(tessera("jobs", "--address", platform.address), 1, "token")


def test_defects_are_one_line_too(tessera, job_file, monkeypatch):
    def broken(*_):
        raise KeyError("oops")

    monkeypatch.setattr("tessera.cli.submit.read", broken)
    assert_told(tessera("submit", "x"), 1, "unexpected KeyError")
    monkeypatch.setenv("TESSERA_DEBUG", "1")
    assert "Traceback" in tessera("submit", "x").err


def test_interrupted(tessera, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tessera.cli.submit.read", interrupted)
    assert tessera("submit", "x").code == 130


def test_global_options_may_come_last():
    assert app.hoist(["jobs", "--output", "json", "--home=x"]) == [
        "--output",
        "json",
        "--home=x",
        "jobs",
    ]
    assert app.hoist(["generate", "m", "--", "--output"]) == ["generate", "m", "--", "--output"]
    assert app.hoist(["jobs", "--output"]) == ["--output", "jobs"]


LIGHT = """
import sys
from tessera.cli.app import run
code = run(sys.argv[1:])
heavy = {"torch", "ray", "grpc", "numpy", "protovalidate", "rich"} & set(sys.modules)
assert not heavy, heavy
raise SystemExit(code)
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), ([], 2), (["nope"], 2), (["--output", "x", "jobs"], 2)]
)
def test_help_and_mistakes_import_nothing_heavy(arguments, code):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "AssertionError" not in done.stderr


@pytest.mark.parametrize("command", app.COMMANDS)
def test_help_of_every_command(tessera, command):
    result = tessera(command, "--help")
    assert result.code == 0
    assert app.COMMANDS[command][1] in result.out
