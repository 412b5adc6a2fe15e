"""A model's folder, which knows what of it was read and followed."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tessera import errors
from tessera.models.huggingface.statement import Statement, open_statement, plain

_POINTER = b"version https://git-lfs.github.com/spec/"
_TRAINING = "a run of training goes on from it, no model is made of it"
_OTHERS = "weights in another form: those in safetensors are read"

IRRELEVANT: Mapping[str, str] = {
    "*.md": "a text for people",
    "README*": "a text for people",
    "LICENSE*": "a text for people",
    "NOTICE*": "a text for people",
    "*.png": "a picture for people",
    "*.jpg": "a picture for people",
    "*.jpeg": "a picture for people",
    "*.gif": "a picture for people",
    "*.svg": "a picture for people",
    ".DS_Store": "of the file manager",
    ".gitattributes": "of git",
    ".gitignore": "of git",
    ".git/*": "of git",
    ".cache/*": "of the download",
    "CACHEDIR.TAG": "of the download",
    "optimizer.pt": _TRAINING,
    "optimizer.bin": _TRAINING,
    "scheduler.pt": _TRAINING,
    "scaler.pt": _TRAINING,
    "rng_state*.pth": _TRAINING,
    "trainer_state.json": _TRAINING,
    "training_args.bin": _TRAINING,
    "train_results.json": _TRAINING,
    "eval_results.json": _TRAINING,
    "all_results.json": _TRAINING,
    "events.out.tfevents.*": _TRAINING,
    "runs/*": _TRAINING,
}
"""Files that say nothing about a model, by their pattern, and why."""

_OTHER_FORMS = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack",
                "*.onnx", "*.onnx_data", "*.gguf", "*.tflite", "*.ot", "*.safetensors",
                "*.safetensors.index.json")  # fmt: skip


class Folder:
    """What is read of it counts as followed; what is left is named.

    Args:
        path: of the folder.
        elsewhere: names of more files, which are not here: those of a hub that were left there.
    """

    def __init__(self, path: Path, elsewhere: tuple[str, ...] = ()) -> None:
        self.path = path
        self._elsewhere = elsewhere
        self._read: set[str] = set()
        self._known: dict[str, str] = dict(IRRELEVANT)
        self._statements: dict[str, tuple[Statement, Any]] = {}

    def __str__(self) -> str:
        return str(self.path)

    @property
    def names(self) -> list[str]:
        """Of all files, those in folders of it and those elsewhere too, with slashes."""
        here = (path for path in self.path.rglob("*") if path.is_file())
        return sorted({*(path.relative_to(self.path).as_posix() for path in here),
                       *self._elsewhere})  # fmt: skip

    def has(self, name: str) -> bool:
        """Whether there is such a file here; to ask is not to read.

        Raises:
            InvalidArgumentError: INVALID_CHECKPOINT: it is a link to nowhere.
        """
        path = self.path / name
        if path.is_symlink() and not path.exists():
            raise _invalid(f"{path} is a link to `{path.readlink()}`, which is not there")
        return path.is_file()

    def file(self, name: str) -> Path:
        """A file that is followed, whoever reads it.

        Raises:
            InvalidArgumentError: INVALID_CHECKPOINT: it cannot be read, or git holds a pointer in
                its place.
        """
        path = self.path / name
        try:
            with path.open("rb") as file:
                start = file.read(len(_POINTER))
        except OSError as error:
            raise _invalid(f"{path} cannot be read: {error.strerror}") from None
        if start == _POINTER:
            raise _invalid(
                f"{path} is a pointer of git-lfs, not the file: run `git lfs pull` in the folder,"
                " or give the repository's name instead"
            )
        self._read.add(name)
        return path

    def read_bytes(self, name: str) -> bytes | None:
        """The content of a file that is followed whole; None where there is none."""
        return self.file(name).read_bytes() if self.has(name) else None

    def read_json(self, name: str) -> Any:
        """The content of a JSON file, its objects as Statements; None where there is none.

        Read twice, it is the same statement.

        Raises:
            InvalidArgumentError: INVALID_CHECKPOINT.
        """
        if name not in self._statements:
            data = self.read_bytes(name)
            if data is None:
                return None
            try:
                content = json.loads(data, object_pairs_hook=_once)
            except (ValueError, RecursionError) as error:
                raise _invalid(f"{self.path / name} is no JSON: {error}") from None
            self._statements[name] = open_statement(content)
        return self._statements[name][1]

    def read_object(self, name: str) -> Statement | None:
        """The same of a file that has to be an object.

        Raises:
            InvalidArgumentError: INVALID_CHECKPOINT.
        """
        found = self.read_json(name)
        if found is not None and not isinstance(found, Statement):
            raise _invalid(f"{self.path / name} is no object")
        return found

    def state(self, name: str, content: Mapping[str, Any]) -> Statement:
        """An object that was read of a file by other means, whose keys are to be followed too."""
        statement = Statement(content)
        self._statements[name] = statement, statement
        return statement

    def know(self, files: Mapping[str, str]) -> None:
        """Add files that need no following: pattern of a path or of its last part, and why."""
        self._known.update(files)

    def unfollowed(self) -> Iterator[str]:
        """Every key of its files and every file that nobody followed, in a sentence each."""
        for name, (statement, _) in self._statements.items():
            for sentence in statement.unfollowed():
                yield f"{name}: {sentence}"
        for name in self.names:
            if name in self._read or _matches(name, self._known):
                continue
            other = _matches(name, _OTHER_FORMS)
            yield f"{plain(name)} was not read: {_OTHERS if other else 'nothing here knows it'}"


def _matches(name: str, patterns: Mapping[str, str] | tuple[str, ...]) -> bool:
    """Whether a path or its last part is of one of the patterns."""
    last = name.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, one) or fnmatch.fnmatchcase(last, one) for one in patterns)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand there once: of two of a name one would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)}` stands twice")
    return values


def _invalid(description: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(description, reason="INVALID_CHECKPOINT")
