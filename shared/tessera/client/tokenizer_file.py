"""The tokenizer of a model's folder."""

from __future__ import annotations

import importlib

from tessera import errors
from tessera.client.folder import Folder

OLDER = ("vocab.txt", "vocab.json", "tokenizer.model", "source.spm")
"""Vocabularies from before there was `tokenizer.json`."""


def has_tokenizer(folder: Folder) -> bool:
    """Whether a folder has any."""
    return any(folder.has(name) for name in ("tokenizer.json", *OLDER))


def read_tokenizer(folder: Folder) -> bytes | None:
    """The content of `tokenizer.json`, made of older files where there is none; None without any.

    Raises:
        FailedPreconditionError: TOKENIZER_NEEDS_TRANSFORMERS.
        InvalidArgumentError: INVALID_TOKENIZER.
    """
    content = folder.read_bytes("tokenizer.json")
    if content is not None:
        return content
    older = [name for name in OLDER if folder.has(name)]
    if not older:
        return None
    try:
        # By name: the client does without it, and only this needs it.
        auto = importlib.import_module("transformers").AutoTokenizer
    except ImportError:
        raise errors.FailedPreconditionError(
            f"{folder} has no tokenizer.json, and making one of {' or '.join(older)} needs the"
            " package transformers: install it, or add a tokenizer.json",
            reason="TOKENIZER_NEEDS_TRANSFORMERS",
        ) from None
    try:
        return str(auto.from_pretrained(folder.path).backend_tokenizer.to_str()).encode()
    except Exception as error:  # noqa: BLE001 - it raises whatever its parts do
        raise errors.InvalidArgumentError(
            f"transformers makes no tokenizer.json of {folder}: {error}; add one, or remove"
            f" {' and '.join(older)} to import the model without a tokenizer",
            reason="INVALID_TOKENIZER",
        ) from None
