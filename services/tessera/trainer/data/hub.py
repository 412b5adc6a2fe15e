"""Hugging Face data sets: `dataset://OWNER/NAME` of the hub, `dataset:///FOLDER` of this host.

The query may name a `config`, a `split` (default `train`) and a `revision`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tessera import errors
from tessera.data.features import has_classes, named
from tessera.data.rows import Row
from tessera.lines import first_line
from tessera.trainer.data.cache import private_folder
from tessera.trainer.failure import UserError

_BATCH = 1000


def dataset_name(url: str) -> str:
    """The name of a data set for people, its split included."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    name = f"{parts.netloc}{path}" if parts.netloc else Path(path).name
    return f"{name}/{_query(url)['split']}"


def dataset_rows(url: str, wanted: Sequence[str], field: str) -> Iterator[Row]:
    """Rows by number; numbers of classes become their names; what is not wanted is None, unread.

    Args:
        url: of the data set.
        wanted: columns.
        field: of the spec, which names it.

    Raises:
        UserError: DATA_NOT_FOUND or DATA_UNREADABLE.
        UnavailableError: HUB_UNREACHABLE.
    """
    found = _load(url, field)
    names = list(found.column_names)
    features = {name: told for name, told in found.features.to_dict().items() if name in wanted}
    classes = {name for name, told in features.items() if has_classes(told)}
    blank = dict.fromkeys(names)
    number = 0
    for batch in found.select_columns(list(features)).iter(_BATCH) if features else ():
        for cells in zip(*(batch[name] for name in features), strict=True):
            number += 1
            row = dict(zip(features, cells, strict=True))
            row |= {name: named(features[name], row[name]) for name in classes}
            yield number, {**blank, **row}
    if not features and len(found):
        yield 1, blank


def _load(url: str, field: str) -> Any:
    import datasets  # noqa: PLC0415 - slow to import
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # noqa: PLC0415

    parts, query = urlsplit(url), _query(url)
    if parts.scheme != "dataset":
        description = f"{url} is no data set; write dataset://OWNER/NAME or dataset:///FOLDER"
        raise UserError.at(field, description, "DATA_UNREADABLE")
    datasets.disable_progress_bars()
    try:
        path = f"{parts.netloc}{unquote(parts.path)}"
        if not parts.netloc and _is_saved(Path(path)):
            return _split(datasets.load_from_disk(path), query["split"], url, field)
        return datasets.load_dataset(
            path,
            query.get("config"),
            split=query["split"],
            revision=query.get("revision"),
            cache_dir=str(private_folder("datasets")),
        )
    except (ConnectionError, TimeoutError, FileNotFoundError, httpx.HTTPError) as error:
        # Where the hub has said no, this is a DatasetsError; otherwise it could not be asked.
        if parts.netloc and not isinstance(error, datasets.exceptions.DatasetsError):
            raise _unreachable(url, field, error) from None
        raise UserError.at(field, f"{url} is not there: {error}", "DATA_NOT_FOUND") from None
    except (ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError.at(field, f"{url} cannot be read: {error}", "DATA_UNREADABLE") from None


def _unreachable(url: str, field: str, error: Exception) -> errors.UnavailableError:
    description = (
        f"{url} cannot be fetched from the hub: {first_line(error)}; try again later, or save the "
        "data set in a folder that the workers see and name that, dataset:///FOLDER"
    )
    return errors.UnavailableError.at(field, description, "HUB_UNREACHABLE")


def _query(url: str) -> dict[str, str]:
    return {"split": "train"} | {
        name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()
    }


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _split(found: Any, name: str, url: str, field: str) -> Any:
    """The split of a saved data set; one that was saved without splits is its own."""
    if not isinstance(found, dict):
        return found
    if name not in found:
        description = f"{url} has no split `{name}`; it has {', '.join(found)}"
        raise UserError.at(field, description, "DATA_NOT_FOUND")
    return found[name]
