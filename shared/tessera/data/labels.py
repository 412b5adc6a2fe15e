"""The classes of a run and their numbers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.data.record import Record

_SHOWN = 20
"""Classes that an error lists."""

_LEAST = 2
"""Classes that a choice takes."""

_TRUTH = frozenset({"true", "false"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The classes of a run.

    Args:
        names: in the order of their numbers.
        numbers: by name, and by whatever else stands for a class in the data.
    """

    names: tuple[str, ...]
    numbers: Mapping[str, int]


def find_classes(
    records: Iterable[Record], role: str, given: Sequence[str] = (), known: Sequence[str] = ()
) -> Classes:
    """The classes of training records: those given or known before, else those found, sorted.

    Names are sorted as numbers if all of them are. What the data calls `True` is `true`. Numbers
    in the data are places in the list that is given, from 0 or from 1, if it has no such names.

    Args:
        records: to train on.
        role: that says the classes.
        given: classes that the spec names, in their order.
        known: classes of the version that is started from.

    Raises:
        InvalidArgumentError: DATA_ONE_LABEL, or DATA_UNKNOWN_LABEL where numbers may count from 0
            or from 1.
    """
    said = {name for record in records for name in names_of(record, role)}
    names = tuple(given) or tuple(known) or _sorted(said, role)
    numbers = {name: number for number, name in enumerate(names)}
    by_truth = {alike(name): number for name, number in numbers.items() if alike(name) in _TRUTH}
    aliases = {name: by_truth[alike(name)] for name in said if alike(name) in by_truth}
    if given:
        aliases |= _places(said, given)
    return Classes(names=names, numbers=numbers | {**aliases, **numbers})


def alike(name: str) -> str:
    """The name of a truth value however it is spelt; other names as they are."""
    return name.lower() if name.lower() in _TRUTH else name


def label_ids(record: Record, role: str, numbers: Mapping[str, int]) -> list[int]:
    """Numbers of a record's classes.

    Raises:
        InvalidArgumentError: DATA_UNKNOWN_LABEL.
    """
    said = names_of(record, role)
    for name in said:
        if name not in numbers:
            known = [f"`{known}`" for known in list(numbers)[:_SHOWN]]
            more = [f"{len(numbers) - _SHOWN} more"] if len(numbers) > _SHOWN else []
            description = (
                f"{record.place}: there is no class `{name}`; there are "
                f"{', '.join(known + more)}; mend the record, name all classes in `task.labels`, "
                "or say in `data.label_names` which class it is"
            )
            raise errors.InvalidArgumentError.at(
                f"data.columns.{role}", description, "DATA_UNKNOWN_LABEL"
            )
    return [numbers[name] for name in said]


def names_of(record: Record, role: str) -> tuple[str, ...]:
    """The one or several classes of a record."""
    said = record.values.get(role, ())
    return said if isinstance(said, tuple) else (str(said),)


def _sorted(said: Collection[str], role: str) -> tuple[str, ...]:
    names = set(map(alike, said)) if {alike(name) for name in said} <= _TRUTH else set(said)
    if len(names) < _LEAST:
        known = f"one class, `{next(iter(names))}`" if names else "no class"
        description = f"the training records have {known}; give records of two classes at least"
        raise errors.InvalidArgumentError.at(f"data.columns.{role}", description, "DATA_ONE_LABEL")
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _places(said: Collection[str], given: Sequence[str]) -> dict[str, int]:
    """Numbers that the data has instead of the names given, and the places that they are."""
    strange = {name for name in said if name not in given}
    if not strange or not all(name.isascii() and name.isdecimal() for name in strange):
        return {}
    if strange != set(said):
        return {}  # Names and numbers together: the numbers are mistakes.
    numbers = {name: int(name) for name in strange}
    if max(numbers.values()) > len(given):
        return {}
    if max(numbers.values()) == len(given) and min(numbers.values()) >= 1:
        return {name: number - 1 for name, number in numbers.items()}
    if min(numbers.values()) == 0 and max(numbers.values()) < len(given):
        return numbers
    shown = ", ".join(sorted(numbers, key=lambda name: numbers[name])[:_SHOWN])
    description = (
        f"the records have the classes {shown}: whether they count the {len(given)} names from 0 "
        f'or from 1 cannot be told; say it in `data.label_names`, e.g. {{"1": {given[0]}}}'
    )
    raise errors.InvalidArgumentError.at("task.labels", description, "DATA_UNKNOWN_LABEL")
