"""The spec of a job that learns from some files, as far as they tell."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.client.guess import Guess
from tessera.client.look import Look
from tessera.models import tasks
from tessera.spec.formats import format_of

_LONGEST_NAME = 63


def data_spec(looks: Sequence[Look], guess: Guess | None, folder: Path) -> JobSpec | None:
    """A spec that submits as it stands; None: there is no task for such data.

    Args:
        looks: at the files.
        guess: what their columns are for; None: they are for nothing that is known.
        folder: of the file that the spec is to be written in, which its paths start from.
    """
    first = looks[0]
    if first.format == "text":
        guess = Guess(kind=tasks.LANGUAGE)
    if guess is None:
        return None
    spec = JobSpec(name=_name(Path(first.source.url)))
    spec.model.family = guess.family
    spec.task.kind = guess.kind
    if guess.multi_label:
        spec.task.multi_label = True
    data = spec.data
    data.files.extend(_entry(Path(look.source.url), folder) for look in looks)
    if format_of(data) != first.format:
        data.format = first.format
    if first.header is False:
        data.header = False
    if first.format == "csv" and first.delimiter not in {"", ","}:
        data.delimiter = first.delimiter
    data.columns.update(guess.columns)
    return spec


def _entry(path: Path, folder: Path) -> str:
    return glob.escape(os.path.relpath(path.absolute(), folder.absolute()))


def _name(path: Path) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", path.name.partition(".")[0].lower()).strip("-")
    return stem[:_LONGEST_NAME].strip("-") or "data"
