"""Where a model to import is: a folder, or a download from the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from tessera import errors
from tessera.client.folder import Folder
from tessera.lines import first_line

PATTERNS = ("*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.jinja", "*.model", "*.spm")
"""Files of a repository that are looked at; never a pickle."""

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


def locate(source: str, revision: str = "") -> Folder:
    """The folder of a model.

    Args:
        source: a folder, or a repository of the hub.
        revision: branch, tag or commit of the repository; empty: its main branch.

    Raises:
        InvalidArgumentError: REVISION_OF_FOLDER.
        NotFoundError: SOURCE_NOT_FOUND: there is neither such a folder nor such a repository.
        FailedPreconditionError: HUB_NOT_INSTALLED.
        UnavailableError: HUB_UNREACHABLE.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if revision:
            raise errors.InvalidArgumentError.at(
                "revision",
                f"{source} is a folder, and has none: leave it out",
                "REVISION_OF_FOLDER",
            )
        return Folder(folder)
    # What starts like a path is one, or `./modle` would be looked up on the hub.
    if not _REPOSITORY.fullmatch(source) or source.startswith("."):
        raise errors.NotFoundError(f"there is no folder {source}", reason="SOURCE_NOT_FOUND")
    return _download(source, revision)


def _download(repository: str, revision: str) -> Folder:
    try:
        import huggingface_hub as hub  # noqa: PLC0415 - only who downloads needs it
        from huggingface_hub import errors as hub_errors  # noqa: PLC0415 - the same
    except ImportError:
        raise errors.FailedPreconditionError(
            f"there is no folder {repository}, and a download needs the package huggingface_hub:"
            " install it, or name a folder",
            reason="HUB_NOT_INSTALLED",
        ) from None
    try:
        path = Path(
            hub.snapshot_download(
                repository, revision=revision or None, allow_patterns=list(PATTERNS)
            )
        )
    except (
        hub_errors.RepositoryNotFoundError,
        hub_errors.RevisionNotFoundError,
        hub_errors.HFValidationError,
    ) as error:
        raise errors.NotFoundError(
            f"there is no folder {repository}, and the hub has no such model or revision:"
            f" {first_line(error)}",
            reason="SOURCE_NOT_FOUND",
        ) from None
    except (OSError, hub_errors.HTTPError) as error:  # type: ignore[attr-defined]
        raise errors.UnavailableError(
            f"there is no folder {repository}, and the hub does not answer: {first_line(error)}",
            reason="HUB_UNREACHABLE",
        ) from None
    # The download's folder is named by its commit.
    return Folder(path, _left_there(repository, path.name))


def _left_there(repository: str, commit: str) -> tuple[str, ...]:
    """Names of all files of a commit; none where only what was downloaded before can be had."""
    import huggingface_hub as hub  # noqa: PLC0415 - as above
    from huggingface_hub import errors as hub_errors  # noqa: PLC0415 - the same

    try:
        return tuple(hub.list_repo_files(repository, revision=commit))
    except (OSError, hub_errors.HTTPError):  # type: ignore[attr-defined]
        return ()
