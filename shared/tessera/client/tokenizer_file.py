"""The tokenizer of a model's folder, as transformers reads it, and its files as they are."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tessera import errors
from tessera.client.folder import Folder
from tessera.models.huggingface.kept import TOKENIZER, Kept
from tessera.models.huggingface.special_tokens import NamedTokens, read_names
from tessera.models.huggingface.tokenizer import (
    added_tokens,
    unknown,
    vocabulary,
    with_lowercase,
    without,
)

OLDER = ("vocab.txt", "vocab.json", "tokenizer.model", "source.spm")
"""Vocabularies from before there was `tokenizer.json`."""

SETTINGS, TOKENS, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
MOST_BYTES = 48 << 20
"""Of all files of a tokenizer, and of what is made of them."""

_BESIDE = (*OLDER, "merges.txt", "target.spm", "spiece.model")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_FOLDERS = ("additional_chat_templates/", "chat_templates/")
_SEGMENTS = "token_type_ids"
_AS_IT_STANDS = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes of transformers that take a `tokenizer.json` as it is; others have a word in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A tokenizer that was read.

    Args:
        content: of the `tokenizer.json` that does what transformers makes of the folder.
        kept: the files as they are.
        named: what they state.
        framed: whether `content` states all that stands around a text.
        segmented: whether a model is told which of two texts a token belongs to.
        notes: what is not followed, in a sentence each.
    """

    content: bytes
    kept: Kept
    named: NamedTokens
    framed: bool
    segmented: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Made:
    """What transformers makes of a folder, and the inputs that it tells a model of."""

    content: bytes
    framed: bool
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def has_tokenizer(folder: Folder) -> bool:
    """Whether a folder has any."""
    return any(folder.has(name) for name in (TOKENIZER, *OLDER))


def read_tokenizer(folder: Folder, words: int, *, lowercase: bool = False) -> Words | None:
    """The tokenizer of a folder; None where it has none.

    Args:
        folder: of the model.
        words: that the model knows.
        lowercase: whether its texts are to be made lower case first.

    Raises:
        FailedPreconditionError: TOKENIZER_NEEDS_TRANSFORMERS.
        InvalidArgumentError: INVALID_TOKENIZER, INVALID_CHECKPOINT.
    """
    older = [name for name in OLDER if folder.has(name)]
    if not has_tokenizer(folder):
        return None
    files = _files(folder)
    settings, tokens = _object(files, SETTINGS), _object(files, TOKENS)
    made = _effective(folder, files, settings, older)
    content = without(made.content, words, files.get(TOKENIZER, made.content))
    try:
        named = NamedTokens(
            vocabulary=vocabulary(content),
            names=read_names(settings, tokens),
            unknown=unknown(content),
        )
    except TypeError as error:
        raise errors.InvalidArgumentError(
            f"{folder}: {SETTINGS}: {error}", reason="INVALID_TOKENIZER"
        ) from None
    if lowercase:
        content = with_lowercase(content)
    _check_size(folder, files, content)
    kept = Kept(files=files, lowercase=lowercase)
    return Words(
        content=content,
        kept=kept,
        named=named,
        framed=made.framed,
        segmented=_SEGMENTS in settings.get("model_input_names", made.inputs),
        notes=made.notes,
    )


def _files(folder: Folder) -> dict[str, bytes]:
    """All that a tokenizer of transformers is made of, but what `tokenizer.json` repeats."""
    names = [TOKENIZER] if folder.has(TOKENIZER) else [name for name in _BESIDE if folder.has(name)]
    if folder.has(TOKENIZER):
        folder.know(dict.fromkeys(_BESIDE, "tokenizer.json says the same"))
    names += [name for name in (SETTINGS, TOKENS, ADDED, *_TEMPLATES) if folder.has(name)]
    names += [name for name in folder.names if name.startswith(_FOLDERS) and folder.has(name)]
    return {name: folder.file(name).read_bytes() for name in names}


def _object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        content = json.loads(files.get(name, b"{}"))
    except ValueError as error:
        raise errors.InvalidArgumentError(
            f"{name} is no JSON: {error}", reason="INVALID_CHECKPOINT"
        ) from None
    if not isinstance(content, dict):
        raise errors.InvalidArgumentError(f"{name} is no object", reason="INVALID_CHECKPOINT")
    return content


def _effective(
    folder: Folder, files: Mapping[str, bytes], settings: Mapping[str, Any], older: list[str]
) -> _Made:
    """The tokenizer that transformers makes."""
    own = files.get(TOKENIZER)
    if own is not None and _stands(settings, own):
        return _Made(own, framed=True)
    try:
        # By name: the client does without it, and only this needs it.
        auto = importlib.import_module("transformers").AutoTokenizer
    except ImportError:
        if own is None:
            raise errors.FailedPreconditionError(
                f"{folder} has no tokenizer.json, and making one of {' or '.join(older)} needs the"
                " package transformers: install it, or add a tokenizer.json",
                reason="TOKENIZER_NEEDS_TRANSFORMERS",
            ) from None
        return _as_it_stands(own, settings, "the package transformers is not installed")
    try:
        theirs = auto.from_pretrained(folder.path)
        made = str(theirs.backend_tokenizer.to_str()).encode()
    except Exception as error:  # noqa: BLE001 - it raises whatever its parts do
        if own is None:
            raise errors.InvalidArgumentError(
                f"transformers makes no tokenizer.json of {folder}: {error}; add one, or remove"
                f" {' and '.join(older)} to import the model without a tokenizer",
                reason="INVALID_TOKENIZER",
            ) from None
        return _as_it_stands(own, settings, f"transformers loads no such tokenizer: {error}")
    content = own if own is not None and _same(own, made) else made
    return _Made(content, framed=True, inputs=tuple(theirs.model_input_names))


def _stands(settings: Mapping[str, Any], own: bytes) -> bool:
    """Whether transformers takes a `tokenizer.json` as it is."""
    added = {token["content"] for token in added_tokens(own) if token.get("special")}
    return settings.get("tokenizer_class") in _AS_IT_STANDS and added.issuperset(
        read_names(settings).values()
    )


def _same(one: bytes, other: bytes) -> bool:
    """Whether two tokenizers do the same, how they cut and fill up texts aside."""
    aside = ("version", "truncation", "padding")
    left, right = (
        {key: value for key, value in json.loads(content).items() if key not in aside}
        for content in (one, other)
    )
    return left == right


def _as_it_stands(own: bytes, settings: Mapping[str, Any], why: str) -> _Made:
    name = settings.get("tokenizer_class") or "of this model"
    note = (
        f"tokenizer.json is read as it stands, whatever the tokenizer class {name} of transformers"
        f" would change in it: {why}"
    )
    return _Made(own, framed=False, inputs=(_SEGMENTS,), notes=(note,))


def _check_size(folder: Folder, files: Mapping[str, bytes], content: bytes) -> None:
    size = len(content) + sum(map(len, files.values()))
    if size > MOST_BYTES:
        raise errors.InvalidArgumentError(
            f"the tokenizer of {folder} has {size >> 20} MiB, and a version keeps at most"
            f" {MOST_BYTES >> 20}: remove files of it that are not needed, or import the model"
            " without a tokenizer",
            reason="TOKENIZER_TOO_LARGE",
        )
