"""Commands that ask models, against real replicas."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tessera.api.controller.v1 import registry_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import bulk
from tessera.rpc.registration import Registration

TESSERA = Path(sys.executable).with_name("tessera")
TEXTS = ("def add(a, b):", "class Größe:")


@pytest.fixture
def two(tmp_path):
    """A file of two lines."""
    (tmp_path / "two.txt").write_text("\n".join(TEXTS))
    return "two.txt"


def test_translate(on, zoo, client, two):
    found = client.translate("translator", TEXTS, max_tokens=6)
    done = on("translate", "translator", "--file", two, "--max-tokens", "6")
    assert done.code == 0, done.err
    lines = done.out.removesuffix("\n").split("\n")
    assert lines == [bulk.one_line(translation.hypotheses[0].text) for translation in found]
    assert done.err.startswith("version 1 · 2 texts · ")
    several = ("--beams", "3", "--hypotheses", "2", "--max-tokens", "6", "--length-penalty", "0.6")
    lines = on("translate", "translator", *TEXTS, *several).out.removesuffix("\n").split("\n")
    assert len(lines) == 4
    assert float(lines[0].split()[0]) >= float(lines[1].split()[0])
    first, second = on("translate", "translator", *TEXTS, *several, "--output", "json").lines
    assert (first["text"], first["version"]) == (TEXTS[0], 1)
    assert [h["finish_reason"][:14] for h in second["hypotheses"]] == ["FINISH_REASON_"] * 2


def test_classify(on, zoo, client):
    done = on("classify", "stars", *TEXTS, "--top-k", "2")
    assert done.code == 0, done.err
    first = done.out.splitlines()[0].split()
    assert len(first) == 4
    best = client.classify("stars", TEXTS[0])[0].labels[0]
    assert first[:2] == [best.label, f"{best.probability:.3f}"]
    paired = on("classify", "stars", *TEXTS, "--pair", "return a", "--output", "json").lines
    found = client.classify("stars", TEXTS, pairs=["return a"] * 2)
    assert [line["labels"][0]["label"] for line in paired] == [c.labels[0].label for c in found]
    pieces = on("classify", "names", TEXTS[1]).out.splitlines()
    assert pieces[0].split()[0] == f"0:{len(pieces[0].split()[-1])}"
    assert "".join(line.split()[-1] for line in pieces if line) == TEXTS[1].replace(" ", "")


def test_fill_mask(on, zoo):
    done = on("fill-mask", "words", "a [MASK] b [MASK]", "[MASK]", "--top-k", "2")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert [len(part.split()) for part in first.split("  |  ")] == [4, 4]
    assert len(second.split()) == 4
    (line,) = on("fill-mask", "words", "a [MASK] b", "--output", "json").lines
    assert len(line["masks"][0]["candidates"]) == 5


def test_answer(on, zoo, tmp_path, monkeypatch):
    (tmp_path / "letter.txt").write_text("class Größe: def add(a, b):\n")
    ask = ("answer", "reader", "--question", "add?", "--question", "class?", "--top-k", "2")
    lines = on(*ask, "--context", "class Größe: def add(a, b):\n", "--output", "json").lines
    assert [line["text"] for line in lines] == ["add?", "class?"]
    assert len(lines[0]["spans"]) == 2
    assert 0 < lines[0]["no_answer_probability"] < 1
    for there in (True, False):
        monkeypatch.setattr("tessera.cli.answer.has_answer", lambda _, there=there: there)
        done = on(*ask, "--context-file", "letter.txt")
        assert done.code == 0, done.err
        shown = done.out.splitlines()
        pieces = [line for line in shown if "(characters " in line]
        assert len(pieces) == 4
        if there:
            assert shown == pieces
        else:
            told = f"no answer, with probability {lines[0]['no_answer_probability']:.3f}"
            assert shown[0] == told
            assert len(shown) == 6


def test_embed(on, zoo, client, two, tmp_path):
    expected = client.embed("meaning", TEXTS).vectors
    done = on("embed", "meaning", "-f", two, "--save", "vectors.npy")
    assert done.out == "vectors.npy: 2 vectors of 32 numbers, float32\n"
    assert np.allclose(np.load(tmp_path / "vectors.npy"), expected, atol=1e-6)
    as_json = on("embed", "meaning", "-f", two, "--save", "vectors.npy", "--output", "json").json
    assert as_json == {"file": "vectors.npy", "vectors": 2, "width": 32, "versions": [1]}
    line, _ = on("embed", "meaning", *TEXTS, "--output", "json").lines
    assert np.allclose(line["vector"], expected[0], atol=1e-6)
    shown = on("embed", "meaning", TEXTS[0]).out
    assert float(shown.split()[0]) == pytest.approx(expected[0, 0], abs=1e-3)
    assert shown.endswith(f"… (32 numbers)  {TEXTS[0]}\n")


def test_score(on, zoo, client, two):
    totals = [found.total for found in client.score("tiny", TEXTS)]
    lines = on("score", "tiny", "--file", two).out.splitlines()
    assert [float(line.split()[0]) for line in lines] == pytest.approx(totals, abs=1e-3)
    assert lines[0].endswith(f"  {TEXTS[0]}")
    (line,) = on("score", "tiny", "x", "--context", "def", "--output", "json").lines
    assert line["total"] == pytest.approx(client.score("tiny", "x", contexts="def")[0].total)


def test_generate_with_beams(on, zoo):
    options = ("--beams", "3", "--length-penalty", "0.5", "--max-tokens", "6")
    parts = on("generate", "tiny", "def", *options, "--output", "json").lines
    assert len(parts) == 1
    assert parts[0]["finish_reason"] != "FINISH_REASON_UNSPECIFIED"


def test_generate_of_many(on, served, client, two):
    options = ("--max-tokens", "6", "--temperature", "0")
    found = client.generate_all("tiny", TEXTS, max_tokens=6, temperature=0, logprobs=True)
    for given in (TEXTS, ("--file", two)):
        done = on("generate", "tiny", *given, *options)
        assert done.code == 0, done.err
        lines = done.out.removesuffix("\n").split("\n")
        assert lines == [bulk.one_line(answer.text) for answer in found]
        assert done.err.startswith("version 1 · 2 texts · ")
    lines = on("generate", "tiny", *TEXTS, *options, "--logprobs", "--output", "json").lines
    for line, text, answer in zip(lines, TEXTS, found, strict=True):
        assert (line["text"], line["version"], line["answer"]) == (text, 1, answer.text)
        assert line["tokens"] == answer.tokens
        assert line["logprobs"] == pytest.approx(list(answer.logprobs), abs=1e-4)
        assert line["finish_reason"].startswith("FINISH_REASON_")
        assert line["prompt_tokens"] == answer.prompt_tokens
    shown = on("generate", "tiny", *TEXTS, *options, "--logprobs")
    written = sum(len(answer.tokens) for answer in found)
    assert len(shown.err.splitlines()) == written + 1


def test_generate_reads_a_prompt_from_stdin(on, served, monkeypatch, tmp_path):
    options = ("--max-tokens", "6", "--temperature", "0")
    (tmp_path / "prompt").write_text("def\nadd")
    with (tmp_path / "prompt").open() as given:
        monkeypatch.setattr("sys.stdin", given)
        shown = on("generate", "tiny", "-", *options).out
    assert shown == on("generate", "tiny", "def\nadd", *options).out


def test_model(on, zoo):
    shown = on("model", "stars").out
    assert "family      bert" in shown
    assert "task        classification" in shown
    assert "Classify" in shown
    assert "bad, fair, good" in shown
    assert on("model", "tiny", "--output", "json").json["task"] == "language_modeling"


def test_replicas_of_a_model_are_compared(on, served, platform, client):
    (alone,) = on("model", "tiny", "--replicas", "--output", "json").json
    assert (alone["name"], alone["state"], alone["version"]) == ("tiny/0", "ACTIVE", 1)
    assert len(alone["digest"]) == 16
    assert "hold" not in on("model", "tiny", "--replicas").out
    second = platform.run(platform.replica("tiny", 1))
    try:
        end = time.monotonic() + 30
        while "" in (digests := _digests(client)) and time.monotonic() < end:
            time.sleep(0.1)
        assert digests == [alone["digest"]] * 2
        shown = on("model", "tiny", "--replicas").out
        assert [line.split()[0] for line in shown.splitlines()[1:3]] == ["tiny/0", "tiny/1"]
        assert "all 2 hold the same weights" in shown
        with torch.no_grad():
            parameter = next(second.state.ready_engine().active.module.parameters())
            parameter.reshape(-1)[0] += 1
        assert "they hold 2 different weights" in on("model", "tiny", "--replicas").out
    finally:
        platform.run(second.stop(1))


def test_a_replica_that_does_not_answer_is_told(on, zoo, platform, client):
    endpoint = registry_pb2.Endpoint(
        role=registry_pb2.ROLE_REPLICA,
        name="stars/1",
        incarnation="x",
        control_address="127.0.0.1:9",
    )
    token = platform.replica_token("stars")
    gone = Registration(platform.address, token, endpoint)
    platform.run(gone.start())
    try:
        here, away = client.processes.replicas("stars")
        assert (here.state, away.state, away.digest) == ("ACTIVE", "UNREACHABLE", "")
        assert on("model", "stars", "--replicas").code == 0
    finally:
        platform.run(gone.stop())


def _digests(client):
    return [report.digest for report in client.processes.replicas("tiny")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model", "nope", "--replicas"], "nope"),
        (["classify", "nope", "x"], "nope"),
        (["classify", "stars"], "there is no text; give some, or a file of them with --file"),
        (["classify", "stars", "x", "--file", "f"], "give texts or --file, not both"),
        (["classify", "stars", "--file", "nope"], "nope: there is no such file"),
        (["classify", "stars", "--file", "latin.txt"], "latin.txt:2: it is not UTF-8"),
        (["classify", "stars", "--file", "gap.txt"], "gap.txt:2: "),
        (["classify", "stars", "a", ""], "text 2: "),
        (["classify", "stars", "a b " * 200], "tokens"),
        (["classify", "stars", "a", "b", "c", "--pair", "d", "--pair", "e"], "text 3: there is no"),
        (["classify", "stars", "a", "--top-k", "-1"], "top_k"),
        (["classify", "tiny", "a"], "Generate"),
        (["translate", "translator", "a", "--beams", "0"], "beams"),
        (["translate", "translator", "a", "--hypotheses", "2"], "hypotheses"),
        (["fill-mask", "words", "no mask"], "nothing is hidden in it; write `[MASK]`"),
        (["answer", "reader", "--question", "q"], "there is no text; give some"),
        (["answer", "reader", "--context", "c"], "Missing option '--question'"),
        (["answer", "reader", "--question", "q", "--context", "a", "--context-file", "b"], "both"),
        (
            ["answer", "reader", "--question", "q", "--context-file", "nope"],
            "there is no such file",
        ),
        (
            ["embed", "meaning", "a", "--save", "no/such/folder.npy"],
            "no/such/folder.npy: it cannot",
        ),
        (["embed", "meaning", "a", "--save", "."], "'.' is a directory"),
        (["score", "tiny", "a", "--context-file", "gap.txt"], "gap.txt:2: there is no text for it"),
        (["generate", "tiny", "a", "--beams", "2", "--temperature", "0.5"], "sampling"),
        (["generate", "tiny", "a", ""], "text 2: the prompt is empty"),
        (["generate", "tiny", "--file", "gap.txt"], "gap.txt:2: the prompt is empty"),
        (["generate", "tiny", "a", "--file", "gap.txt"], "give texts or --file, not both"),
        (["generate", "tiny", "a", "b", "--max-tokens", "0"], "max_tokens"),
        (["model", "nope"], "nope"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_mistakes(on, zoo, tmp_path, arguments, words):
    (tmp_path / "latin.txt").write_bytes("gut\nschön".encode("latin-1"))
    (tmp_path / "gap.txt").write_text("a\n\nb\n")
    done = on(*arguments)
    assert done.code == 2, done.err
    (line,) = done.err.splitlines()
    assert line.startswith("tessera: ")
    assert words in line
    assert not list(tmp_path.glob("**/*.part"))


def test_help_has_examples(tessera):
    shown = tessera("fill-mask", "--help").out
    assert '\n  Examples:\n    tessera fill-mask words "Paris is' in shown


@pytest.mark.processes
def test_lines_are_answered_as_they_come_and_ctrl_c_is_quiet(on, zoo):
    child = subprocess.Popen(
        [TESSERA, "classify", "stars", "--file", "-", "--top-k", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for text in TEXTS:
        child.stdin.write(f"{text}\n")
        assert child.stdout.readline().split()[0] in {"bad", "fair", "good"}
    child.send_signal(signal.SIGINT)
    out, told = child.communicate(timeout=30)
    assert (child.returncode, out, told) == (130, "", "")


def test_a_bar_where_people_wait(on, zoo, tmp_path, monkeypatch):
    count = bulk.FEW + 1
    (tmp_path / "many.txt").write_text("a\n" * count)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    done = on("classify", "stars", "--file", "many.txt", "--top-k", "1")
    assert done.code == 0, done.err
    assert len(re.findall(r"\x1b\[2K(?:bad|fair|good) ", done.out)) == count
    assert f"{count}/{count}" in done.out


def terminal_output(reader):
    """All that is written to a terminal, until nobody has it open any more."""
    parts = []
    while True:
        try:
            parts.append(os.read(reader, 1 << 16))
        except OSError:
            return b"".join(parts).decode()


@pytest.mark.processes
def test_a_bar_beside_what_goes_into_a_file(on, zoo, tmp_path):
    count = bulk.FEW + 1
    (tmp_path / "many.txt").write_text("a\n" * count)
    reader, writer = pty.openpty()
    with (tmp_path / "classes.txt").open("w") as classes:
        child = subprocess.Popen(
            [TESSERA, "classify", "stars", "--file", "many.txt", "--top-k", "1"],
            stdout=classes,
            stderr=writer,
        )
    os.close(writer)
    shown = terminal_output(reader)
    os.close(reader)
    assert child.wait() == 0
    text = (tmp_path / "classes.txt").read_text()
    assert len(re.findall(r"^(?:bad|fair|good) 0\.\d{3}$", text, re.MULTILINE)) == count
    assert "\x1b" not in text
    assert f"/{count}" in shown
    assert f"version 1 · {count} texts" in shown


def test_nothing_is_saved_of_half_an_answer(on, zoo, tmp_path):
    (tmp_path / "gap.txt").write_text("a\n" * 300 + "\n")
    (tmp_path / "old.npy").write_text("old")
    done = on("embed", "meaning", "--file", "gap.txt", "--save", "old.npy")
    assert done.code == 2
    assert "gap.txt:301: " in done.err
    assert (tmp_path / "old.npy").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gap.txt", "old.npy"]


def test_summary():
    assert bulk.summary(0, [], 1.0) == "no texts"
    assert bulk.summary(1, [3], 0.5) == "version 3 · 1 text · 2.0 texts/s"
    assert bulk.summary(10, [3, 4], 2.0) == "versions 3, 4 · 10 texts · 5.0 texts/s"


def test_lines_stay_lines():
    assert bulk.one_line("a\r\nb") == "a\\r\\nb"
    assert bulk.ranking([("a\n", 0.5), ("b", 0.25)]) == "a\\n 0.500  b 0.250"


def test_json_of_a_result_has_its_zeros():
    found = bulk.plain_values(pb.Scored(tokens=[1], logprobs=[0.0]))
    assert found == {"tokens": [1], "logprobs": [0.0], "total": 0.0}


def test_only_mistakes_in_a_text_get_a_place(on, zoo):
    told = on("classify", "stars", "a", "b", "--top-k", "-1").err
    assert told.startswith("tessera: top_k: ")
