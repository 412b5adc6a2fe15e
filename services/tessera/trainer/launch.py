"""The gang of workers, by Ray Train. All that the driver knows of Ray is here."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import ray
import ray.exceptions
from ray.train import FailureConfig, RunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.config import ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from tessera.accelerator import is_particular, resource_of
from tessera.attempt.failure import Failure, FailureCategory
from tessera.lines import MAX_LINE, first_line
from tessera.trainer.settings import AttemptContext, Settings

GANG_SECONDS = 600
"""How long a collective may take; others of the gang may be fetching or encoding text."""


def scaling(settings: Settings, places: Sequence[Mapping[str, str]] = ()) -> ScalingConfig:
    """What the gang occupies, in Ray's terms; the same amounts that the controller admitted.

    Args:
        settings: of the run.
        places: by worker, the labels of the node that it was given; none: any node.
    """
    resources: dict[str, float] = {"CPU": settings.cpus_per_worker}
    if settings.memory_per_worker:
        resources["memory"] = settings.memory_per_worker
    resource = resource_of(settings.accelerator)
    if resource:
        resources[resource] = settings.accelerators_per_worker
    # Where the node is named, so is its type.
    named = is_particular(settings.accelerator) and not places
    return ScalingConfig(
        num_workers=settings.workers,
        use_gpu=resource == "GPU",
        resources_per_worker=resources,
        accelerator_type=settings.accelerator if named else None,
        label_selector=[dict(place) for place in places] or None,
    )


def train(
    settings: Settings,
    context: AttemptContext,
    backend: str,
    places: Sequence[Mapping[str, str]] = (),
) -> dict[int, Failure]:
    """Run the gang to its end.

    Args:
        settings: of the run.
        context: how the ranks reach the platform.
        backend: of the process group.
        places: by worker, the labels of its node.

    Returns:
        What Ray says of the ranks that failed, by rank; rank -1 for the gang as a whole.
    """
    # Ray Train wants a folder though nothing is written there; its default is in the user's home.
    with tempfile.TemporaryDirectory(prefix="tessera-train-") as folder:
        trainer = TorchTrainer(
            _rank,
            train_loop_config={"settings": settings, "context": context},
            torch_config=TorchConfig(backend=backend, timeout_s=GANG_SECONDS),
            scaling_config=scaling(settings, places),
            run_config=RunConfig(
                name=context.name,
                storage_path=folder,
                failure_config=FailureConfig(max_failures=0),
            ),
        )
        return _outcome(trainer)


def _rank(config: dict[str, Any]) -> None:
    # Here: neither the driver nor Ray's own controller of the gang needs what a rank imports.
    from tessera.trainer.worker import run_rank  # noqa: PLC0415

    run_rank(config)


def _outcome(trainer: TorchTrainer) -> dict[int, Failure]:
    try:
        trainer.fit()
    except WorkerGroupError as error:
        return {rank: rank_failure(cause, rank) for rank, cause in error.worker_failures.items()}
    except ControllerError as error:
        return {-1: gang_failure(error.controller_failure)}
    except TrainingFailedError as error:
        return {-1: gang_failure(error)}
    return {}


def rank_failure(error: BaseException, rank: int) -> Failure:
    """What Ray's account of a failed worker means."""
    text = str(error)
    cause: Any = getattr(error, "health_check_failure", None) or error
    # Of a plain SIGKILL, too, Ray writes that the OOM killer is a common cause.
    if isinstance(cause, ray.exceptions.OutOfMemoryError) or "running low on memory" in text:
        return Failure(
            category=FailureCategory.OUT_OF_MEMORY,
            reason="OUT_OF_MEMORY",
            message=f"rank {rank} was killed: its node ran out of memory",
            rank=rank,
        )
    if isinstance(cause, ray.exceptions.RayActorError):
        return Failure(
            category=FailureCategory.WORKER_LOST,
            reason="WORKER_LOST",
            message=f"the process of rank {rank} died: {first_line(text)}",
            rank=rank,
        )
    return Failure(
        category=FailureCategory.INTERNAL,
        reason="TRAINER_FAILED",
        message=first_line(text) or type(cause).__name__,
        rank=rank,
    )


def gang_failure(error: BaseException) -> Failure:
    """What Ray's account of a gang that was not started means."""
    said = str(error).strip()[:MAX_LINE]
    if isinstance(error, ray.exceptions.RayTaskError):  # Its text is the whole traceback.
        said = f"{type(error.cause).__name__}: {first_line(error.cause)}"
    return Failure(
        category=FailureCategory.LAUNCH,
        reason="GANG_NOT_STARTED",
        message=f"the workers could not be started: {said}",
    )
