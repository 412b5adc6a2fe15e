"""Paths of this machine in a spec: found, hashed and replaced by the blobs that they become."""

from __future__ import annotations

import glob
import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec import check
from tessera.spec.urls import DATA_FILES, split_url

MAX_FILES = 10_000
MAX_CODE_BYTES = 64 << 20
_SKIPPED = {"__pycache__", "node_modules"}
_ODD = re.compile(r"[^\w.-]")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file to upload: `source` is its path, or its content; `digest` its sha256."""

    name: str
    source: Path | bytes
    digest: str
    size: int

    @property
    def url(self) -> str:
        """What stands for it in a spec."""
        # Names only tell files apart for people: nothing that could break a URL is kept.
        name = _ODD.sub("_", self.name)
        return f"blob://{self.digest}/{name}"


def localize(spec: JobSpec, folder: Path) -> tuple[JobSpec, list[LocalFile]]:
    """The spec with blobs instead of local paths, and the files that must be uploaded for it.

    Args:
        spec: what the user wrote.
        folder: that relative paths start from.

    Raises:
        InvalidArgumentError: FILE_NOT_FOUND, FILE_NOT_READABLE, NOT_A_FILE, TOO_MANY_FILES or
            CODE_TOO_LARGE, with the field; or the spec with the files that were found breaks a
            rule, for example FILES_NOT_PAIRED.
    """
    done = JobSpec()
    done.CopyFrom(spec)
    files: list[LocalFile] = []
    for name in DATA_FILES:
        urls, found = _localize_list(getattr(spec.data, name), folder, f"data.{name}")
        getattr(done.data, name)[:] = urls
        files += found
    if spec.tokenizer.path and not split_url(spec.tokenizer.path)[0]:
        (path,) = expand(glob.escape(spec.tokenizer.path), folder, "tokenizer.path")
        files.append(read_file(path, "tokenizer.path"))
        done.tokenizer.path = files[-1].url
    if spec.code and not split_url(spec.code)[0]:
        files.append(read_code(_absolute(spec.code, folder)))
        done.code = files[-1].url
    # How many files there are, and what the first one is called, is known only now.
    check(done)
    return done, files


def _localize_list(
    entries: Sequence[str], folder: Path, name: str
) -> tuple[list[str], list[LocalFile]]:
    """What stands for the entries of one field, in their order, and what is uploaded for them."""
    urls: list[str] = []
    files: list[LocalFile] = []
    for index, entry in enumerate(entries):
        field = f"{name}[{index}]"
        if split_url(entry)[0]:
            urls.append(entry)
            continue
        base = _literal(entry, folder)
        found = [
            read_file(path, field, name=path.relative_to(base).as_posix())
            for path in expand(entry, folder, field)
        ]
        urls += [file.url for file in found]
        files += found
    if len(urls) > MAX_FILES:
        raise errors.InvalidArgumentError.at(
            name,
            f"{len(urls)} files are more than {MAX_FILES}; join them, or name a URL",
            "TOO_MANY_FILES",
        )
    return urls, files


def expand(entry: str, folder: Path, field: str) -> list[Path]:
    """The files that a path or glob names, sorted.

    Raises:
        InvalidArgumentError: FILE_NOT_FOUND or NOT_A_FILE.
    """
    # What stands in the folder's own name is no wildcard.
    pattern, root = str(Path(entry).expanduser()), folder.absolute()
    found = sorted(root / name for name in glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207 - absolute patterns too
    if (root / pattern).is_dir():
        raise errors.InvalidArgumentError.at(
            field, f"`{entry}` is a folder; name its files, e.g. {entry}/**/*.txt", "NOT_A_FILE"
        )
    files = [path for path in found if path.is_file()]
    if files:
        return files
    what = "no file matches" if glob.has_magic(entry) else "there is no file"
    raise errors.InvalidArgumentError.at(
        field, f"{what} `{entry}` (looked in {folder.absolute()})", "FILE_NOT_FOUND"
    )


def read_file(path: Path, field: str, *, name: str = "") -> LocalFile:
    """Hash a file; without a `name` it bears its own.

    Raises:
        InvalidArgumentError: FILE_NOT_READABLE.
    """
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise errors.InvalidArgumentError.at(
            field, f"{path} cannot be read: {detail}", "FILE_NOT_READABLE"
        ) from None
    return LocalFile(name=name or path.name, source=path, digest=digest, size=size)


def read_code(path: Path) -> LocalFile:
    """A .py file as it is, or a folder as a zip, the same bytes for the same content.

    Raises:
        InvalidArgumentError: FILE_NOT_FOUND, NOT_A_FILE, FILE_NOT_READABLE or CODE_TOO_LARGE.
    """
    if path.is_file() and path.suffix in {".py", ".zip"}:
        return read_file(path, "code")
    if not path.is_dir():
        if path.exists():
            raise errors.InvalidArgumentError.at(
                "code", f"{path} is neither a folder nor a .py file", "NOT_A_FILE"
            )
        raise errors.InvalidArgumentError.at("code", f"there is no {path}", "FILE_NOT_FOUND")
    try:
        content = _zip(path)
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise errors.InvalidArgumentError.at(
            "code", f"{error.filename}: {detail}", "FILE_NOT_READABLE"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    name = f"{path.resolve().name}.zip"
    return LocalFile(name=name, source=content, digest=digest, size=len(content))


def _zip(folder: Path) -> bytes:
    # A package is imported by its name, so that its folder is part of the path inside.
    root = folder.resolve().parent if (folder / "__init__.py").exists() else folder.resolve()
    buffer, size = io.BytesIO(), 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.resolve().rglob("*")):
            parts = path.relative_to(folder.resolve()).parts
            if not path.is_file() or any(p in _SKIPPED or p.startswith(".") for p in parts):
                continue
            size += path.stat().st_size
            if size > MAX_CODE_BYTES:
                limit = f"{MAX_CODE_BYTES >> 20} MiB"
                raise errors.InvalidArgumentError.at(
                    "code",
                    f"{folder} holds more than {limit}; keep data out of it",
                    "CODE_TOO_LARGE",
                )
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _absolute(entry: str, folder: Path) -> Path:
    path = Path(entry).expanduser()
    return path if path.is_absolute() else folder.absolute() / path


def _literal(entry: str, folder: Path) -> Path:
    """The folder above the first wildcard, so that files below it keep names that differ."""
    parts = Path(entry).expanduser().parent.parts
    end = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return folder.absolute().joinpath(*parts[:end])
