"""Clients that hold nothing of ours but the .proto files, against the real services."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
from attempts import Attempt

from tessera.api.controller.v1 import attempt_pb2, job_pb2
from tessera.client import Client

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
PROMPT = "def add(a, b):"
SET = {"publish": {"set": "other-languages"}}

# Run with `-S`: Tessera itself cannot be imported.
PYTHON = """
import sys
sys.path[:0] = sys.argv[1].split(":")
import grpc
from google.protobuf import json_format
from tessera.api.controller.v1 import job_pb2, job_pb2_grpc, registry_pb2, registry_pb2_grpc
from tessera.api.inference.v1 import inference_pb2, inference_pb2_grpc

try:
    import tessera.client
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("this is not a client of the .proto files alone")

_, _, address, token, spec, prompt = sys.argv
how = {"metadata": [("authorization", f"Bearer {token}")], "timeout": 60}
with grpc.insecure_channel(address) as channel:
    jobs = job_pb2_grpc.JobServiceStub(channel)
    request = json_format.Parse(f'{{"spec": {spec}}}', job_pb2.CreateJobRequest())
    job = jobs.CreateJob(request, **how).job
    print("submitted", job.id, flush=True)
    for update in jobs.WatchJob(job_pb2.WatchJobRequest(name=job.id), **how):
        if update.HasField("event"):
            print(update.event.sequence, update.event.type, flush=True)
    registry = registry_pb2_grpc.RegistryServiceStub(channel)
    where = registry_pb2.ResolveRequest(role=registry_pb2.ROLE_REPLICA, name="tiny/")
    replica = registry.Resolve(where, **how).endpoints[0].control_address
with grpc.insecure_channel(replica) as channel:
    stub = inference_pb2_grpc.InferenceServiceStub(channel)
    wish = inference_pb2.GenerateRequest(model="tiny", text=prompt, max_tokens=20)
    wish.sampling.seed, wish.sampling.temperature = 3, 0.8
    text = "".join(part.text for part in stub.Generate(wish, **how))
    sys.stdout.buffer.write(text.encode())
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    """Python's messages and stubs, made from an export alone."""
    folder = tmp_path_factory.mktemp("generated")
    export = [sys.executable, str(ROOT / "protos" / "export.py"), str(folder / "protos")]
    subprocess.run(export, check=True, capture_output=True)
    files = [str(path) for path in (folder / "protos").rglob("*.proto")]
    ours = [path for path in files if "/google/" not in path]
    outs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder / 'protos'}", *outs, *ours]
    subprocess.run(protoc, check=True, cwd=folder)
    return folder


class Run:
    """A client's process, and the job that it submits."""

    def __init__(self, platform, command, cwd) -> None:
        env = {name: value for name, value in os.environ.items() if name != "TESSERA_ADDRESS"}
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**env, "TESSERA_HOME": str(platform.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # What a line's reader took in advance, `communicate` would not see.
        )
        self._watchdog = threading.Timer(60, self.process.kill)
        self._watchdog.start()

    def submitted(self) -> str:
        line = self.process.stdout.readline().decode()
        assert line.startswith("submitted "), self.process.stderr.read().decode()
        return line.split()[1]

    def ended(self) -> tuple[int, str, str]:
        # Bytes: what a model writes has carriage returns, and text mode would mend them.
        out, err = (stream.decode() for stream in self.process.communicate())
        self._watchdog.cancel()
        return self.process.returncode, out, err


def train(platform, job: str) -> None:
    """What an attempt does."""
    platform.admit(job)
    attempt = Attempt(platform, job)
    attempt.report(progress=job_pb2.Progress(step=5, total_steps=60, loss=2.5))
    attempt.finish(success=attempt_pb2.Success(version=1))


def specification(folder: Path, **fields) -> dict:
    """The example's own job, in a set that no other test writes."""
    return {**json.loads((folder / "job.json").read_text()), **SET, **fields}


def expected(client: Client) -> str:
    parts = client.generate("tiny", PROMPT, max_tokens=20, seed=3, temperature=0.8)
    return "".join(part.text for part in parts)


def test_node_submits_a_job_and_watches_it_to_its_end(platform, client, node):
    (node / "mine.json").write_text(json.dumps(specification(node)))
    run = Run(platform, ["node", "train.js", "mine.json"], node)
    job = run.submitted()
    train(platform, job)
    code, out, err = run.ended()
    assert (code, err) == (0, "")
    events = [update.event for update in client.jobs.watch(job) if update.HasField("event")]
    for event in events:
        assert f"{event.sequence} {event.type}: {event.message}" in out
    assert events[-1].state == job_pb2.JOB_STATE_SUCCEEDED
    assert client.jobs.get(job).spec.model.width == 64


def test_node_streams_what_a_replica_writes(platform, client, served, node):
    run = Run(platform, ["node", "generate.js", "tiny", PROMPT, "20", "3"], node)
    code, out, err = run.ended()
    assert (code, err) == (0, "")
    text, _, end = out.rpartition("\n— ")
    assert text == PROMPT + expected(client)
    assert re.fullmatch(r"version 1, FINISH_REASON_(LENGTH|END)\n", end)


def test_node_tells_what_is_wrong_and_its_reason(platform, served, node):
    spec = specification(node, model={"family": "gpt", "heads": 5, "width": 64})
    (node / "bad.json").write_text(json.dumps(spec))
    for command, reason in [
        (["train.js", "bad.json"], "HEADS_DO_NOT_DIVIDE_WIDTH"),
        (["generate.js", "nobody", PROMPT], "DEPLOYMENT_NOT_FOUND"),
    ]:
        code, _, err = Run(platform, ["node", *command], node).ended()
        assert code == 1
        assert re.fullmatch(rf".+ \({reason}\)\n", err)


def test_node_without_a_platform_says_so(platform, node, tmp_path):
    env = {**os.environ, "TESSERA_HOME": str(tmp_path)}
    env.pop("TESSERA_ADDRESS", None)
    done = subprocess.run(
        ["node", "train.js"], cwd=node, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "tessera up" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_generated_from_an_export_is_a_client(platform, client, served, generated):
    path = os.pathsep.join([str(generated), str(Path(find_spec("grpc").origin).parents[1])])
    spec = json.dumps(specification(ROOT / "examples" / "node"))
    arguments = [path, platform.address, platform.token, spec, PROMPT]
    run = Run(platform, [sys.executable, "-S", "-c", PYTHON, *arguments], generated)
    job = run.submitted()
    train(platform, job)
    code, out, err = run.ended()
    assert (code, err) == (0, "")
    assert out.endswith(expected(client))
    last = client.jobs.get(job)
    assert last.state == job_pb2.JOB_STATE_SUCCEEDED


def curl(platform, address: str, method: str, request: dict) -> list[dict]:
    """Every message of the answer; what the methods take is learned from the server alone."""
    buf = Path(sys.executable).with_name("buf")
    done = subprocess.run(
        [
            *(str(buf), "curl", "--protocol", "grpc", "--http2-prior-knowledge"),
            *("--header", f"authorization: Bearer {platform.token}"),
            *("--data", json.dumps(request), f"http://{address}/tessera.api.{method}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    decoder, rest, messages = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        message, end = decoder.raw_decode(rest)
        messages.append(message)
        rest = rest[end:].strip()
    return messages


def test_reflection_is_enough(platform, client, served):
    jobs = "controller.v1.JobService"
    spec = {"spec": specification(ROOT / "examples" / "node"), "validateOnly": True}
    (reply,) = curl(platform, platform.address, f"{jobs}/CreateJob", spec)
    assert reply["job"]["spec"]["train"]["steps"] == 60
    where = {"role": "ROLE_REPLICA", "name": "tiny/"}
    (reply,) = curl(platform, platform.address, "controller.v1.RegistryService/Resolve", where)
    replica = reply["endpoints"][0]["controlAddress"]
    how = {"temperature": 0.8, "seed": 3}
    wish = {"model": "tiny", "text": PROMPT, "maxTokens": 20, "sampling": how}
    parts = curl(platform, replica, "inference.v1.InferenceService/Generate", wish)
    assert "".join(part.get("text", "") for part in parts) == expected(client)
