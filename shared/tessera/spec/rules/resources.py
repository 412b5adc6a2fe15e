"""What must hold of what a job occupies."""

from __future__ import annotations

from collections.abc import Iterator

from tessera.accelerator import is_tpu
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec.rules.problem import Problem


def _workers(spec: JobSpec) -> Iterator[Problem]:
    asked = spec.resources
    if asked.HasField("min_workers") and asked.min_workers > asked.workers:
        yield Problem(
            reason="TOO_FEW_WORKERS",
            field="resources.min_workers",
            description=(
                f"{asked.min_workers} are more than resources.workers, {asked.workers}; "
                "it is the fewest that the job starts with"
            ),
        )


def _accelerator(spec: JobSpec) -> Iterator[Problem]:
    if not spec.resources.HasField("accelerator"):
        return
    asked, field = spec.resources.accelerator, "resources.accelerator"
    if asked.count > 1 and asked.count != int(asked.count):
        yield Problem(
            reason="ACCELERATOR_COUNT",
            field=f"{field}.count",
            description=f"{asked.count:g}: ask for whole ones, or for a share of a single one",
        )
    if asked.topology and not is_tpu(asked.type):
        yield Problem(
            reason="TPU_TOPOLOGY",
            field=f"{field}.topology",
            description=f"{asked.type} has no slices; only TPUs have",
        )


RULES = (_workers, _accelerator)
