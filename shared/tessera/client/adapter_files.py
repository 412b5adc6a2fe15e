"""The folder of an adapter, and the folder of the model that it is for."""

from __future__ import annotations

import re
from pathlib import Path

from tessera import errors
from tessera.client import hub
from tessera.client.checkpoint import open_tensors
from tessera.client.folder import Folder
from tessera.models.huggingface import adapter
from tessera.models.huggingface.adapter import Adapter


def is_adapter(folder: Folder) -> bool:
    """Whether PEFT wrote it; transformers takes such a folder for an adapter too."""
    return folder.has(adapter.CONFIG)


def read_adapter(folder: Folder) -> Adapter:
    """What it lays over its base.

    Raises:
        NotFoundError: NOT_A_CHECKPOINT.
        InvalidArgumentError: IMPORT_UNSUPPORTED, PICKLED_WEIGHTS or INVALID_CHECKPOINT.
    """
    values = folder.read_object(adapter.CONFIG)
    assert values is not None
    if not folder.has(adapter.WEIGHTS):
        if adapter.PICKLE in folder.names:
            raise errors.InvalidArgumentError(
                f"{folder} keeps its adapter in a pickle, which may run any code when it is read;"
                " load it with PEFT and `save_pretrained` it, which writes safetensors",
                reason="PICKLED_WEIGHTS",
            )
        raise errors.NotFoundError(f"{folder} has no {adapter.WEIGHTS}", reason="NOT_A_CHECKPOINT")
    try:
        return adapter.read(values, open_tensors(folder, adapter.WEIGHTS))
    except (TypeError, ValueError, AttributeError, IndexError, re.error) as error:
        raise errors.InvalidArgumentError.at(
            adapter.CONFIG, str(error), "INVALID_CHECKPOINT"
        ) from None


def find_base(folder: Folder, base: str) -> Folder:
    """The model that an adapter is for.

    Args:
        folder: of the adapter.
        base: a folder or a repository; empty: the one that the adapter names.

    Raises:
        FailedPreconditionError: ADAPTER_WITHOUT_BASE.
    """
    values = folder.read_object(adapter.CONFIG)
    assert values is not None
    named, revision = values.get("base_model_name_or_path"), values.get("revision")
    source = base or named
    if not source or not isinstance(source, str):
        raise _without(folder, "does not say of what model")
    # What --base names is taken as it is; a folder has no revision.
    here = bool(base) or Path(source).expanduser().is_dir()
    try:
        return hub.locate(source, "" if here else revision or "")
    except errors.TesseraError as error:
        raise _without(folder, f"is for `{source}`, and {error}") from None


def _without(folder: Folder, why: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError.at(
        "base",
        f"{folder} is an adapter and {why}; name the folder of its base with --base, or merge it"
        " in PEFT (`merge_and_unload`), `save_pretrained` the result, and import that",
        "ADAPTER_WITHOUT_BASE",
    )
