"""How another tenant fares at a controller and a replica while one floods them; what that costs.

Server, attacker and victim are processes of their own. Rounds alternate: the victim alone, then
beside the attack. One JSON object per line; `growth_mib` is of the server's memory over the whole
run, `store_mib` of what the controller keeps on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psutil
import torch

from door import median
from server_process import keep_stdout, say_ready, told_by
from tessera.api.controller.v1 import job_pb2, job_pb2_grpc, spec_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.device import Device
from tessera.inference.activation import Activation
from tessera.inference.config import ServedModel
from tessera.inference.engine.engine import Engine
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.settings import EngineSettings
from tessera.inference.replica import services
from tessera.inference.state import ReplicaState
from tessera.inference.weights import Loader
from tessera.meter import NoMeter
from tessera.models.registry import FAMILIES, build
from tessera.rpc.channel import aio_channel, bearer, channel
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server
from tessera.rpc.status import from_rpc_error
from tessera.text.training import train
from tessera.weights.coordinator import Coordinator

SERVED = ServedModel(deployment="tiny", tenant="one", set="one/tiny", version=1)
MASKS, WORDS = 512, 30_000
MIB = 1 << 20
ROUND_SECONDS = 5.0
"""Of the victim's calls at a replica, quiet or beside an attack: the whole ends, however it is."""
LEAST_CALLS = 5


def texts(name: str) -> pb.FillMaskRequest:
    """A request of an attack, by its name."""
    masked = pb.Input(text="[MASK]" * MASKS)
    inputs = {
        "1,000 texts of 512 masks": [masked] * 1000,
        "30 texts of 512 masks, allowed": [masked] * 30,
        "a text of 5 MB": [pb.Input(text="words of a text " * (5_000_000 // 16))],
    }
    return pb.FillMaskRequest(model="tiny", inputs=inputs[name], top_k=5)


ATTACKS = ("1,000 texts of 512 masks", "30 texts of 512 masks, allowed", "a text of 5 MB")


def model() -> LoadedModel:
    """A small BERT with a vocabulary of 30,000."""
    torch.manual_seed(1)
    family = FAMILIES["bert"]
    corpus = iter(["some words of a text\n" * 20])
    tokenizer = train("byte_bpe", corpus, 300, family.special)
    sizes = {"layers": 2, "heads": 4, "width": 128, "context": MASKS + 8}
    config = family.config(
        sizes,
        family.task(""),
        vocab_size=WORDS,
        start_id=tokenizer.start_id,
        end_id=tokenizer.end_id,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id if tokenizer.mask_id is not None else -1,
    )
    module = build(config).eval()
    return LoadedModel(set=SERVED.set, version=1, config=config, module=module, tokenizer=tokenizer)


async def serve_replica(issuer: Issuer) -> str:
    """A replica's server; returns its address."""
    torch.set_num_threads(1)
    nowhere = Coordinator("", "")
    device = Device.for_accelerator("")
    loader = Loader(nowhere, "", set_name=SERVED.set, owner="bench", device=device)
    activation = Activation(SERVED, loader, nowhere, lambda: None)
    activation.engine = Engine(model(), EngineSettings())
    activation.engine.start()
    state = ReplicaState(SERVED, activation)
    server = Server(Door(Verifier([issuer.public_key()])), services(state, NoMeter()))
    KEPT.append(server)
    return f"127.0.0.1:{await server.start()}"


KEPT: list[Any] = []


async def serve(folder: Path, part: str) -> None:
    """The server process."""
    if part == "replica":
        issuer = Issuer(Issuer.generate_key())
        address = await serve_replica(issuer)
    else:
        controller = Controller(
            Config(host="127.0.0.1", port=0, home=folder, shards=0), run_loops=False
        )
        await controller.start()
        issuer, address = controller.runtime.issuer, controller.address
        KEPT.append(controller)
    told = {"address": address}
    for name, tenant in (("eve", "one"), ("bob", "one" if part == "replica" else "another")):
        caller = Principal(subject=name, role=Role.SUBMITTER, tenant=tenant)
        told[name] = issuer.issue(caller)
    say_ready(told)
    await asyncio.Event().wait()


def job(number: int) -> job_pb2.CreateJobRequest:
    """A submission."""
    spec = spec_pb2.JobSpec(
        name=f"j{number}",
        model=spec_pb2.ModelSpec(family="gpt"),
        data=spec_pb2.DataSpec(files=["stdlib://**/*.py"]),
    )
    return job_pb2.CreateJobRequest(spec=spec)


async def submit(told: dict[str, str], begin: int, calls: int, workers: int) -> None:
    """The attacker of the controller: so many submissions, as fast as they are answered."""
    outcomes: Counter[str] = Counter()
    numbers = iter(range(begin, begin + calls))
    async with aio_channel(told["address"]) as connection:
        create = job_pb2_grpc.JobServiceStub(connection).CreateJob

        async def worker() -> None:
            for number in numbers:
                try:
                    await create(job(number), metadata=bearer(told["eve"]), timeout=60)
                    outcomes["OK"] += 1
                except grpc.RpcError as error:
                    outcomes[from_rpc_error(error).reason] += 1

        print("begins", flush=True)
        await asyncio.gather(*(worker() for _ in range(workers)))
    print(json.dumps(outcomes), flush=True)


async def fill(told: dict[str, str], name: str, workers: int) -> None:
    """The attacker of the replica: one request after another, between one line and the next."""
    request = texts(name)
    async with aio_channel(told["address"]) as connection:
        call = pb_grpc.InferenceServiceStub(connection).FillMask

        async def worker() -> None:
            while True:
                try:
                    await call(request, metadata=bearer(told["eve"]), timeout=60)
                except grpc.RpcError as error:
                    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                        await asyncio.sleep(0.05)

        while await asyncio.to_thread(sys.stdin.readline):
            running = [asyncio.create_task(worker()) for _ in range(workers)]
            print("begins", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            for each in running:
                each.cancel()
            await asyncio.wait(running)


@contextmanager
def process(*arguments: str) -> Iterator[Any]:
    """This file as another process, with what it says."""
    command = [sys.executable, __file__, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def said(running: Any, word: str) -> str:
    """The rest of the first line that begins with a word."""
    for line in running.stdout:
        if line.startswith(word):
            return str(line.removeprefix(word))
    raise SystemExit("a process ended early")


def measure_controller(rounds: int, calls: int, submissions: int) -> None:
    """One tenant submits, as often as it is told; another looks at its job and submits one."""
    with tempfile.TemporaryDirectory() as folder, process("--serve", "controller", folder) as it:
        told = told_by(it)
        memory = psutil.Process(it.pid).memory_info
        numbers = itertools.count()
        with channel(told["address"]) as connection:
            stub, metadata = job_pb2_grpc.JobServiceStub(connection), bearer(told["bob"])
            create = lambda: stub.CreateJob(job(next(numbers)), metadata=metadata, timeout=60)  # noqa: E731
            request = job_pb2.GetJobRequest(name=create().job.name)
            get = lambda: stub.GetJob(request, metadata=metadata, timeout=60)  # noqa: E731
            before, outcomes = memory().rss, Counter[str]()
            kinds: dict[str, Callable[[], Any]] = {"GetJob": get, "CreateJob": create}
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
            for turn in range(rounds):
                quiet = {name: median(call, calls) for name, call in kinds.items()}
                each = submissions // rounds
                flood = ("--submit", json.dumps(told), str(turn * each), str(each))
                with process(*flood) as attacker:
                    said(attacker, "begins")
                    time.sleep(0.5)
                    for name, call in kinds.items():
                        found[name].append((quiet[name], median(call, calls)))
                    outcomes.update(json.loads(said(attacker, "")))
            kept = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
            for name, pairs in found.items():
                report(
                    f"{name}, beside {submissions:,} submissions",
                    pairs,
                    growth_mib=round((memory().rss - before) / MIB),
                    store_mib=round(kept / MIB, 1),
                    outcomes=dict(outcomes),
                )


def measure_replica(rounds: int, calls: int, attacks: Sequence[str], nice: int) -> None:
    """One principal asks for a lot, another for a word."""
    with process("--serve", "replica", "") as it:
        told = told_by(it)
        memory = psutil.Process(it.pid).memory_info
        with channel(told["address"]) as connection:
            call = pb_grpc.InferenceServiceStub(connection).FillMask
            small = pb.FillMaskRequest(model="tiny", inputs=[pb.Input(text="some [MASK] of")])
            ask = partial(call, small, metadata=bearer(told["bob"]), timeout=60)
            soon(ask, calls)
            for name in attacks:
                before, pairs = memory().rss, []
                with process("--fill", json.dumps(told), name, "--nice", str(nice)) as attacker:
                    for _ in range(rounds):
                        quiet = soon(ask, calls)
                        print(file=attacker.stdin, flush=True)
                        said(attacker, "begins")
                        time.sleep(1)
                        pairs.append((quiet, soon(ask, calls)))
                        print(file=attacker.stdin, flush=True)
                        time.sleep(1)
                growth = round((memory().rss - before) / MIB)
                report(f"FillMask, beside {name}", pairs, growth_mib=growth)


def soon(action: Callable[[], Any], calls: int) -> float:
    """Seconds of one of many calls: of so many, or of those that a few seconds suffice for."""
    end, found = time.monotonic() + ROUND_SECONDS, list[float]()
    while len(found) < calls and (time.monotonic() < end or len(found) < LEAST_CALLS):
        found.append(median(action, 1))
    return statistics.median(found)


def report(metric: str, pairs: list[tuple[float, float]], **facts: Any) -> None:
    """One line, of (quiet, loaded) seconds."""
    line = {
        "bench": "flood",
        "metric": metric,
        "value": round(statistics.median(loaded for _, loaded in pairs) * 1e3, 3),
        "unit": "ms",
        "baseline": "alone",
        "baseline_value": round(statistics.median(quiet for quiet, _ in pairs) * 1e3, 3),
        "ratio": round(statistics.median(loaded / quiet for quiet, loaded in pairs), 3),
        **facts,
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=100, help="of the victim, in each round")
    parser.add_argument("--submissions", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=16, help="calls of the attacker at once")
    parser.add_argument("--only", choices=["controller", "replica"])
    parser.add_argument("--attack", choices=ATTACKS, help="of the replica: this one alone")
    parser.add_argument("--nice", type=int, default=0, help="of the replica's attacker itself")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--submit", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--fill", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_stdout()
    if options.serve:
        asyncio.run(serve(Path(options.serve[1]), options.serve[0]))
    elif options.submit:
        told, begin, calls = options.submit
        asyncio.run(submit(json.loads(told), int(begin), int(calls), options.workers))
    elif options.fill:
        os.nice(options.nice)
        asyncio.run(fill(json.loads(options.fill[0]), options.fill[1], options.workers))
    else:
        if options.only != "replica":
            measure_controller(options.rounds, options.calls, options.submissions)
        if options.only != "controller":
            attacks = [options.attack] if options.attack else ATTACKS
            measure_replica(options.rounds, options.calls, attacks, options.nice)


if __name__ == "__main__":
    main()
