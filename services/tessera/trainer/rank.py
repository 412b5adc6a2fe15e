"""Runs one rank without a platform, as torchrun starts it: for benchmarks and by hand.

    torchrun --nproc-per-node 2 -m tessera.trainer.rank --spec job.yaml --metrics out.jsonl

The spec is what `tessera submit` takes; nothing is loaded from, or committed to, any service.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch.distributed as dist

from tessera import errors
from tessera.device import Device
from tessera.spec.document import load
from tessera.trainer.control.commands import CommandQueue
from tessera.trainer.control.in_memory_reporter import InMemoryReporter
from tessera.trainer.mask import Mask
from tessera.trainer.ranks import Ranks
from tessera.trainer.run import Run
from tessera.trainer.secrets import install
from tessera.trainer.spec import settings_of


def no_blobs(digest: str) -> bytes:
    """Without a controller there are no uploads."""
    raise errors.NotFoundError(f"blob {digest}: there is no controller")


def main() -> None:
    """Read the arguments, join the process group, run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--metrics", type=Path)
    parser.add_argument("--tenant", default="default", help="whose secrets the spec names")
    arguments = parser.parse_args()
    settings = settings_of(load(arguments.spec))
    install(settings.secrets, arguments.tenant, os.environ, Mask())
    device = Device.for_accelerator(settings.accelerator)
    dist.init_process_group(device.backend)
    try:
        ranks = Ranks.joined()
        reporter = InMemoryReporter(verbose=ranks.is_main)
        Run(
            settings=settings,
            ranks=ranks,
            device=device,
            reporter=reporter,
            commands=CommandQueue(),
            store=None,
            read_blob=no_blobs,
        ).execute()
        if ranks.is_main and arguments.metrics:
            lines = [json.dumps({"step": s, **values}) for s, values in reporter.metrics]
            arguments.metrics.write_text("\n".join(lines) + "\n")
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
