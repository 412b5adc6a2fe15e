"""One rank in a process of its own: the real loop, with or without a parameter service.

argv: a JSON object with `spec`, `out`, `store` (controller, token, job, attempt or null) and
`kill` ({"rank", "step"} or null: SIGKILL oneself there). The place in the gang is in the
environment, as torchrun sets it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

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


def main() -> None:
    told = json.loads(sys.argv[1])
    settings = settings_of_json(json.dumps(told["spec"]))
    dist.init_process_group("gloo")
    ranks, reporter, commands = Ranks.joined(), InMemoryReporter(), CommandQueue()
    store, kill, order = told["store"], told["kill"], told.get("order") or {}

    def on_progress(progress) -> None:
        if kill and kill["rank"] == ranks.rank and progress.step >= kill["step"]:
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


if __name__ == "__main__":
    main()
