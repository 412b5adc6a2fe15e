"""The user's own data set or objective: `entrypoint: module:function`.

The function is called once on every rank, with a `Context`, before the first step. It returns
None to keep what is built in, or an object with any of the attributes of `Override`. What it
supplies, and an example, is in docs/entrypoint.md. What it raises fails the job with reason
ENTRYPOINT_FAILED and is never repeated.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from torch import Tensor, nn

from tessera.device import is_out_of_memory
from tessera.environment import SAFE_PATH
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import Dataset, TokenBatch
from tessera.trainer.data.sources import ReadBlob, read_one
from tessera.trainer.failure import EntrypointError, UserError, is_collateral
from tessera.trainer.step.objective import Loss

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an entrypoint is told.

    Args:
        spec: the resolved spec, as parsed JSON.
        rank: of this process.
        world_size: number of ranks.
        seed: of the run.
        tokenizer: of the run.
        dataset: the built-in data set.
    """

    spec: dict[str, Any]
    rank: int
    world_size: int
    seed: int
    tokenizer: Tokenizer
    dataset: Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What an entrypoint supplied; None keeps the built-in one."""

    dataset: Dataset | None = None
    loss: Loss | None = None


def install(url: str, read_blob: ReadBlob) -> None:
    """Fetch `blob://SHA256/NAME` (a .py file or a .zip), or a path, and make it importable."""
    if not url:
        return
    name = PurePosixPath(url).name
    folder = Path(tempfile.mkdtemp(prefix="tessera-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / name).write_bytes(read_one(url, read_blob))
    # Other processes that this code starts find their own modules where they always do.
    os.environ.pop(SAFE_PATH, None)
    sys.path.insert(0, str(folder / name if name.endswith(".zip") else folder))


def call(entrypoint: str, context: Context) -> Override:
    """Resolve the function and call it.

    Raises:
        UserError: ENTRYPOINT_NOT_FOUND.
        EntrypointError: it raised, or returned what no protocol covers.
    """
    module, _, name = entrypoint.partition(":")
    try:
        function = getattr(_imported(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(
            f"entrypoint: there is no `{entrypoint}`: {error}", reason="ENTRYPOINT_NOT_FOUND"
        ) from None
    made = guarded(lambda: function(context), entrypoint)
    dataset, loss = getattr(made, "dataset", None), getattr(made, "loss", None)
    if made is not None and dataset is None and loss is None:
        raise EntrypointError(
            f"entrypoint: `{entrypoint}` returned a {type(made).__name__} with neither `loss` "
            "nor `dataset`"
        )
    return Override(
        dataset=None if dataset is None else GuardedDataset(dataset, entrypoint),
        loss=None if loss is None else _guarded_loss(loss, entrypoint),
    )


def guarded(work: Callable[[], R], entrypoint: str) -> R:
    """Run the user's code; what it raises becomes an EntrypointError with that cause."""
    try:
        return work()
    except Exception as error:
        # Memory that runs out, and a peer that is gone, are no mistake of this code's.
        if is_out_of_memory(error) or is_collateral(str(error)):
            raise
        raise EntrypointError(
            f"entrypoint: `{entrypoint}` raised {type(error).__name__}: {error}"
        ) from error


@dataclass(frozen=True, slots=True)
class GuardedDataset:
    """A data set of the user's whose errors are the user's."""

    inner: Dataset
    entrypoint: str

    def train(self, samples: int, count: int) -> Any:
        """As the inner one."""
        return guarded(lambda: self.inner.train(samples, count), self.entrypoint)

    def held_out(self, count: int) -> Any:
        """As the inner one."""
        return guarded(lambda: self.inner.held_out(count), self.entrypoint)

    def batch(self, split: str, keys: Any) -> TokenBatch:
        """As the inner one."""
        return guarded(lambda: self.inner.batch(split, keys), self.entrypoint)

    def examples(self) -> int:
        """As the inner one; 0 where it does not say."""
        if not hasattr(self.inner, "examples"):
            return 0
        return guarded(lambda: int(self.inner.examples()), self.entrypoint)


def _guarded_loss(loss: Loss, entrypoint: str) -> Loss:
    def own(model: nn.Module, batch: TokenBatch) -> Tensor:
        return guarded(lambda: loss(model, batch), entrypoint)

    return own


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise
        raise EntrypointError(f"entrypoint: importing `{module}` failed: {error}") from error
    except Exception as error:
        raise EntrypointError(
            f"entrypoint: importing `{module}` raised {type(error).__name__}: {error}"
        ) from error
