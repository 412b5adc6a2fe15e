"""The peer of `benchmarks/startup.py`: the same run as a Ray Train script, without a platform.

Run as a Ray job: reads a resolved spec (proto3 JSON), trains with the same loop, and writes the
time of the first optimizer step to a file.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any


def work(config: dict[str, Any]) -> None:
    """One rank: the trainer's own loop, reporting to nobody and committing nothing."""
    from tessera.device import Device
    from tessera.trainer.control.commands import CommandQueue
    from tessera.trainer.control.in_memory_reporter import InMemoryReporter
    from tessera.trainer.ranks import Ranks
    from tessera.trainer.run import Run
    from tessera.trainer.spec import settings_of_json

    class FirstStep(InMemoryReporter):
        """Notes when the first metrics come."""

        def metric(self, step: int, values: Any) -> None:
            if not self.metrics:
                Path(config["out"]).write_text(str(time.time()))
            super().metric(step, values)

    ranks = Ranks.joined()
    device = Device.for_accelerator("", ranks.local_rank)
    device.use()
    Run(
        settings=settings_of_json(config["spec"]),
        ranks=ranks,
        device=device,
        reporter=FirstStep(),
        commands=CommandQueue(),
        store=None,
        read_blob=lambda _: b"",
    ).execute()


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")

    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    ray.init(log_to_driver=False)
    TorchTrainer(
        work,
        train_loop_config={"spec": arguments.spec.read_text(), "out": str(arguments.out)},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=arguments.workers, resources_per_worker={"CPU": 1}
        ),
        run_config=RunConfig(name=f"peer-{time.time_ns()}"),
    ).fit()


if __name__ == "__main__":
    main()
