"""The text of a run as two lines of tokens, made once on each host and shared by its ranks."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera import errors
from tessera.text.tokenizer import Tokenizer, train_byte_bpe
from tessera.trainer.failure import UserError
from tessera.trainer.gang import Gang
from tessera.trainer.settings import Settings
from tessera.trainer.sources import ReadBlob, fetch
from tessera.trainer.split import Text, split

Line = NDArray[Any]
"""[N] token ids, uint16 or uint32."""

_GROUP = 64
"""Texts that are encoded at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Tokens to train on and tokens held out; `digest` tells one corpus from another."""

    train: Line
    held_out: Line
    digest: str


def prepare(
    settings: Settings, gang: Gang, read_blob: ReadBlob, tokenizer_json: bytes | None
) -> tuple[Corpus, Tokenizer]:
    """Fetch, split, learn the vocabulary, encode; every rank calls it.

    Args:
        settings: names the files and the tokenizer.
        gang: rank 0 learns the vocabulary, the first rank of each host encodes.
        read_blob: reads uploads.
        tokenizer_json: a tokenizer to take instead of learning one.

    Raises:
        UserError: DATA_NOT_FOUND, DATA_NOT_TEXT, DATA_EMPTY, or DATA_DIFFERS between hosts.
    """
    parts: tuple[list[Text], list[Text]] = ([], [])
    if gang.leads_host:
        texts = fetch(settings.files, settings.max_bytes, read_blob)
        parts = split(texts, settings.held_out)
    learned = gang.broadcast(
        tokenizer_json or _learn(parts[0], settings.vocab_size) if gang.leads else None
    )
    tokenizer = Tokenizer.from_json(learned)
    run = gang.broadcast(uuid.uuid4().hex if gang.leads else None)
    folder = Path(tempfile.gettempdir()) / f"tessera-corpus-{run}"
    try:
        if gang.leads_host:
            folder.mkdir(mode=0o700)
            for name, part in zip(("train", "held_out"), parts, strict=True):
                encode(part, tokenizer).tofile(folder / name)
        gang.barrier()
        kind = id_type(tokenizer.vocab_size)
        train, held_out = (np.memmap(folder / n, kind, "r") for n in ("train", "held_out"))
        gang.barrier()
    finally:
        # The mapping outlives the name, so that no file is left behind whatever becomes of us.
        if gang.leads_host:
            shutil.rmtree(folder, ignore_errors=True)
    corpus = Corpus(train=train, held_out=held_out, digest=_digest(train, held_out))
    _same_everywhere(gang, corpus)
    return corpus, tokenizer


def encode(texts: Sequence[Text], tokenizer: Tokenizer) -> Line:
    """[N] the tokens of all texts, each followed by the end-of-text token."""
    kind = id_type(tokenizer.vocab_size)
    parts = []
    for at in range(0, len(texts), _GROUP):
        for ids in tokenizer.encode_batch([text.content for text in texts[at : at + _GROUP]]):
            parts.append(np.array([*ids, tokenizer.end_id], dtype=kind))  # noqa: PERF401 - two loops
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)


def id_type(vocab_size: int) -> type[np.uint16 | np.uint32]:
    """The smallest element type that holds every id."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def check_length(corpus: Corpus, length: int) -> None:
    """Raise UserError DATA_TOO_SHORT if a part does not make one sequence of `length` tokens."""
    for part, line in (("training", corpus.train), ("held-out", corpus.held_out)):
        if len(line) <= length:
            description = (
                f"the {part} text has {len(line)} tokens, too few for one sequence of {length}; "
                "name more files, or lower `train.sequence_length`"
            )
            raise UserError(
                f"data.files: {description}",
                reason="DATA_TOO_SHORT",
                violations=[errors.Violation("data.files", description)],
            )


def _learn(texts: Sequence[Text], vocab_size: int) -> bytes:
    def contents() -> Iterator[str]:
        for text in texts:
            yield text.content

    return train_byte_bpe(contents(), vocab_size).to_json()


def _digest(*lines: Line) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(len(line).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(line).tobytes())
    return digest.hexdigest()[:32]


def _same_everywhere(gang: Gang, corpus: Corpus) -> None:
    digests = gang.gather(corpus.digest)
    other = next((rank for rank, found in enumerate(digests) if found != digests[0]), None)
    if other is not None:
        raise UserError(
            f"data.files: rank {other} reads other text than rank 0; give files that are the same "
            "on every host",
            reason="DATA_DIFFERS",
        )
