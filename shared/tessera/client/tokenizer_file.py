"""The tokenizer of a model's folder."""

from __future__ import annotations

import importlib
from pathlib import Path

from tessera import errors

OLDER = ("vocab.txt", "vocab.json", "tokenizer.model", "source.spm")
"""Vocabularies from before there was `tokenizer.json`."""


def read_tokenizer(folder: Path) -> bytes | None:
    """The content of `tokenizer.json`, made of older files where there is none; None without any.

    Raises:
        FailedPreconditionError: TOKENIZER_NEEDS_TRANSFORMERS.
        InvalidArgumentError: INVALID_TOKENIZER.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        return path.read_bytes()
    older = [name for name in OLDER if (folder / name).is_file()]
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
        return str(auto.from_pretrained(folder).backend_tokenizer.to_str()).encode()
    except Exception as error:  # noqa: BLE001 - it raises whatever its parts do
        raise errors.InvalidArgumentError(
            f"transformers makes no tokenizer.json of {folder}: {error}; add one, or remove"
            f" {' and '.join(older)} to import the model without a tokenizer",
            reason="INVALID_TOKENIZER",
        ) from None
