"""One rank in a process of its own: the real loop, with or without a parameter service.

The processes are forked off one that has imported torch already, which takes each of them three
seconds otherwise.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch.distributed as dist

from tessera.device import Device, is_out_of_memory
from tessera.trainer.control.commands import CommandQueue
from tessera.trainer.control.in_memory_reporter import InMemoryReporter
from tessera.trainer.failure import classify
from tessera.trainer.rank import no_blobs
from tessera.trainer.ranks import Ranks
from tessera.trainer.run import Run
from tessera.trainer.spec import settings_of_json
from tessera.trainer.versions.starting_point import ParameterStore
from tessera.weights.coordinator import Coordinator


def start(told: dict[str, Any], log: Path, environment: dict[str, str]) -> BaseProcess:
    """Start one.

    Args:
        told: `spec`, `out`, `store` (controller, token, job, attempt or null), `kill` ({"rank",
            "step", "durable"} or null: SIGKILL oneself there, as soon as a version of that step
            is durable), `order`, and `toys`: names of modules whose `register` is called.
        log: what it prints is added to it.
        environment: its place in the gang, as torchrun sets it.
    """
    context = multiprocessing.get_context("forkserver")
    # Whatever optimizes imports the second.
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    process = context.Process(target=_run, args=(told, str(log), environment))
    process.start()
    return process


def stop() -> None:
    """End what such processes are forked off, which would go on as long as this process does."""
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()


def _run(told: dict[str, Any], log: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    work(told)


def work(told: dict[str, Any]) -> None:
    """Run the rank, and write what it found to `out`."""
    for name in told.get("toys", ()):
        importlib.import_module(name).register()
    settings = settings_of_json(json.dumps(told["spec"]))
    dist.init_process_group("gloo")
    ranks, reporter, commands = Ranks.joined(), InMemoryReporter(), CommandQueue()
    store, kill, order = told["store"], told["kill"], told.get("order") or {}

    def on_progress(progress) -> None:
        durable = progress.version_step >= (kill or {}).get("durable", 0)
        if kill and kill["rank"] == ranks.rank and progress.step >= kill["step"] and durable:
            os.kill(os.getpid(), signal.SIGKILL)
        if order and progress.step >= order["step"]:
            commands.update(order["checkpoints"], stop=order["stop"], checkpoint_before_stop=True)

    run = Run(
        settings=settings,
        ranks=ranks,
        device=Device.for_accelerator(""),
        reporter=reporter,
        commands=commands,
        store=store
        and ParameterStore(
            coordinator=Coordinator(store["controller"], store["token"]),
            token=store["token"],
            tenant="default",
            job=store["job"],
            attempt=store["attempt"],
        ),
        read_blob=no_blobs,
        on_progress=on_progress,
    )
    result: dict[str, object] = {}
    try:
        outcome = run.execute()
        result = {"finished": outcome.finished, "version": outcome.version}
    except Exception as error:  # noqa: BLE001 - the test reads what it was
        failure = classify(error, ranks.rank, out_of_memory=is_out_of_memory(error))
        result = {
            "category": failure.category.name,
            "reason": failure.reason,
            "message": failure.message,
            "traceback": failure.traceback,
            "collateral": failure.collateral,
        }
    result.update(metrics=reporter.metrics, events=reporter.events)
    Path(told["out"]).with_suffix(f".{ranks.rank}").write_text(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)
