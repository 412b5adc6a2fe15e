"""A spec made ready to be sent: checked, its local files found, hashed and read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.client.data_check import Checked, check_data
from tessera.client.local_files import LocalFile, expand, localize
from tessera.client.look import look
from tessera.models.tasks import TASKS
from tessera.spec import check, resolve
from tessera.spec.urls import DATA_FILES, split_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a submit sends.

    Args:
        spec: with blobs instead of local paths.
        files: that must be uploaded for it.
        data: what reading the local data said.
    """

    spec: JobSpec
    files: tuple[LocalFile, ...]
    data: Checked


def prepare(spec: JobSpec, folder: Path) -> Prepared:
    """Check a spec and its local files; nothing is sent, and no platform is needed.

    Args:
        spec: what the user wrote.
        folder: that relative paths start from.

    Raises:
        InvalidArgumentError: the spec breaks a rule, a file is not there, or its data is not what
            the spec says; each violation names a field.
    """
    try:
        check(spec, uploaded=False)
        localized, files = localize(spec, folder)
    except errors.InvalidArgumentError as error:
        raise _with_form(error, spec, folder) from None
    resolved = resolve(localized)
    for name in DATA_FILES:
        getattr(resolved.data, name)[:] = getattr(spec.data, name)
    return Prepared(spec=localized, files=tuple(files), data=check_data(resolved, folder))


def _with_form(
    error: errors.InvalidArgumentError, spec: JobSpec, folder: Path
) -> errors.InvalidArgumentError:
    """The error of a format that the task cannot read, with what the files seem to be."""
    if error.reason != "FORMAT_NOT_FOR_TASK" or spec.data.format:
        return error
    for index, entry in enumerate(spec.data.files):
        if split_url(entry)[0]:
            continue
        field = f"data.files[{index}]"
        for path in expand(entry, folder, field):
            form = look(path, field).format
            if form in TASKS[resolve(spec).task.kind].formats and form != "text":
                first = error.violations[0]
                said = f"{first.description}; {path.name} looks like {form}"
                said = f"{said}: set `data.format: {form}`"
                return errors.InvalidArgumentError.at(first.field, said, error.reason)
    return error
