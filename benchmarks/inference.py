"""Streams from a separate client process over gRPC against the same engine driven in-process.

The pairs are interleaved; each line that is printed is a median. Rates mean something only on a
machine that does nothing else: `load` (of the last minute, about 1 to 2 by the benchmark itself)
tells, and `cpu_per_token` of the engine's process suffers less. Needs no Ray and no controller:

    python benchmarks/inference.py [--quick] [--device GPU]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

import torch

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.device import Device
from tessera.inference.activation import Activation
from tessera.inference.config import ServedModel
from tessera.inference.engine.engine import Engine
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.plan import Limits
from tessera.inference.engine.sequence import Request, Sampling
from tessera.inference.engine.settings import EngineSettings
from tessera.inference.replica import services
from tessera.inference.state import ReplicaState
from tessera.inference.weights import Loader
from tessera.log import configure_logging
from tessera.meter import NoMeter
from tessera.models.registry import FAMILIES
from tessera.models.registry import build as build_module
from tessera.models.tasks import count_parameters
from tessera.rpc.channel import aio_channel, bearer
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server
from tessera.text import special
from tessera.text.training import train
from tessera.weights.coordinator import Coordinator

CORPUS = [open(os.__file__, encoding="utf-8").read()]  # noqa: SIM115, PTH123 - any text will do
PROMPT_TOKENS = 32


@dataclass(frozen=True)
class Load:
    """What every run asks for."""

    streams: int
    tokens: int
    prompt: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """What one run measured.

    `rate` in tokens/s of all streams, `first` in seconds to the first token, `cpu` in seconds that
    the process with the engine computed for each token.
    """

    rate: float
    first: float
    messages: int
    cpu: float = 0.0


def build(device: Device) -> LoadedModel:
    """About ten million parameters."""
    torch.manual_seed(0)
    tokenizer = train("byte_bpe", iter(CORPUS), 2048, special.GPT)
    config = FAMILIES["gpt"].config(
        {"context": 256, "layers": 5, "heads": 6, "width": 384}, vocab_size=tokenizer.vocab_size
    )
    module = build_module(config).eval().requires_grad_(requires_grad=False).to(device.torch)
    # The end is never written, so that all streams are of one length.
    tokenizer.end_id = -1
    return LoadedModel(
        set="default/bench", version=1, config=config, module=module, tokenizer=tokenizer
    )


def measured(begin: float, firsts: list[float], counts: list[tuple[int, int]]) -> Run:
    seconds = time.perf_counter() - begin
    return Run(
        rate=sum(tokens for tokens, _ in counts) / seconds,
        first=statistics.median(firsts) - begin,
        messages=sum(messages for _, messages in counts),
    )


async def in_process(engine: Engine, load: Load) -> Run:
    """The engine's own asyncio front."""
    firsts: list[float] = []

    async def stream(number: int) -> tuple[int, int]:
        tokens = messages = 0
        request = Request(
            prompt=load.prompt, max_tokens=load.tokens, sampling=Sampling(seed=number)
        )
        async for part in engine.submit(request, engine.active):
            if not tokens:
                firsts.append(time.perf_counter())
            tokens += len(part.tokens)
            messages += 1
        return tokens, messages

    begin = time.perf_counter()
    counts = await asyncio.gather(*(stream(number) for number in range(load.streams)))
    return measured(begin, firsts, counts)


async def over_grpc(
    stub: pb_grpc.InferenceServiceStub, metadata: tuple[tuple[str, str], ...], load: Load
) -> Run:
    """The same, through the network."""
    firsts: list[float] = []

    async def stream(number: int) -> tuple[int, int]:
        tokens = messages = 0
        request = pb.GenerateRequest(
            model="bench",
            tokens=pb.Tokens(ids=load.prompt),
            max_tokens=load.tokens,
            sampling=pb.Sampling(seed=number),
        )
        async for part in stub.Generate(request, metadata=metadata, timeout=600):
            if not tokens:
                firsts.append(time.perf_counter())
            tokens += len(part.tokens)
            messages += 1
        return tokens, messages

    begin = time.perf_counter()
    counts = await asyncio.gather(*(stream(number) for number in range(load.streams)))
    return measured(begin, firsts, counts)


async def client(pipe: Connection) -> None:
    """The client process: one connection, a run for every load that comes through the pipe."""
    address, token = pipe.recv()
    async with aio_channel(address) as channel:
        stub = pb_grpc.InferenceServiceStub(channel)
        while (load := await asyncio.to_thread(pipe.recv)) is not None:
            pipe.send(await over_grpc(stub, bearer(token), load))


def client_main(pipe: Connection) -> None:
    asyncio.run(client(pipe))


async def bench(arguments: argparse.Namespace, pipe: Connection) -> None:
    device = Device.for_accelerator(arguments.device)
    model = build(device)
    load = Load(
        streams=arguments.streams,
        tokens=arguments.tokens,
        prompt=tuple(model.tokenizer.encode(CORPUS[0])[:PROMPT_TOKENS]),  # type: ignore[union-attr]
    )
    served = ServedModel(deployment="bench", tenant="default", set="default/bench", version=1)
    nowhere = Coordinator("", "")
    loader = Loader(nowhere, "", set_name=served.set, owner="bench", device=device)
    activation = Activation(served, loader, nowhere, lambda: None)
    engine = Engine(model, EngineSettings(limits=Limits(max_batch=load.streams)))
    engine.start()
    activation.engine = engine
    issuer = Issuer(Issuer.generate_key())
    state = ReplicaState(served, activation)
    server = Server(Door(Verifier([issuer.public_key()])), services(state, NoMeter()))
    port = await server.start()
    pipe.send((f"127.0.0.1:{port}", issuer.issue(Principal(subject="bench", role=Role.OPERATOR))))

    async def local(load: Load) -> Run:
        begin = time.process_time()
        return costed(begin, load, await in_process(engine, load))

    async def remote(load: Load) -> Run:
        begin = time.process_time()
        pipe.send(load)
        return costed(begin, load, await asyncio.to_thread(pipe.recv))

    short = replace(load, tokens=8)
    await local(short)
    await remote(short)
    pairs = []
    for index in range(arguments.repeat):
        # Which comes first changes, so that a drift of the machine favours neither.
        if index % 2:
            over = await remote(load)
            inside = await local(load)
        else:
            inside = await local(load)
            over = await remote(load)
        pairs.append((inside, over))
    pipe.send(None)
    report(model, load, pairs)
    await server.drain(0)
    engine.close()


def costed(begin: float, load: Load, run: Run) -> Run:
    cpu = time.process_time() - begin
    return replace(run, cpu=cpu / load.streams / load.tokens)


def report(model: LoadedModel, load: Load, pairs: list[tuple[Run, Run]]) -> None:
    inside = statistics.median(run.rate for run, _ in pairs)
    over = statistics.median(run.rate for _, run in pairs)
    line(
        "tokens_per_second",
        over,
        "tokens/s",
        inside,
        statistics.median(over.rate / inside.rate for inside, over in pairs),
        parameters=count_parameters(model.config),
        streams=load.streams,
        runs=len(pairs),
        load=os.getloadavg()[0],
    )
    inside = statistics.median(run.first for run, _ in pairs)
    over = statistics.median(run.first for _, run in pairs)
    line("time_to_first_token", over, "s", inside, over / inside)
    inside = statistics.median(run.cpu for run, _ in pairs)
    over = statistics.median(run.cpu for _, run in pairs)
    line("cpu_per_token", over, "s", inside, over / inside)
    messages = statistics.median(run.messages for _, run in pairs)
    tokens = load.streams * load.tokens
    line("tokens_per_message", tokens / messages, "tokens", 1.0, tokens / messages)


def line(
    metric: str, value: float, unit: str, baseline: float, ratio: float, **facts: object
) -> None:
    print(
        json.dumps(
            {
                "bench": "inference",
                "metric": metric,
                "value": round(value, 5),
                "unit": unit,
                "baseline": "the same engine in-process",
                "baseline_value": round(baseline, 5),
                "ratio": round(ratio, 4),
                **facts,
            }
        ),
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few tokens, three pairs")
    parser.add_argument("--device", default="", help="accelerator type, as in a spec; empty: CPU")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="that compute")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.tokens, arguments.repeat = 40, 3
    configure_logging("bench")
    torch.set_num_threads(arguments.threads)
    # Spawned, not forked: gRPC and torch have threads.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=client_main, args=(theirs,), daemon=True)
    process.start()
    asyncio.run(bench(arguments, ours))
    process.join(10)
    return 0


if __name__ == "__main__":
    sys.exit(main())
