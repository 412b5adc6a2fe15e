"""Rules for the form of the data, and whether the task can learn from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.data.extract import CLASSES
from tessera.data.record import NOT_TEXT
from tessera.data.settings import DELIMITED
from tessera.data.template import Template
from tessera.models.tasks import TABLES, TASKS
from tessera.spec.formats import format_by_name
from tessera.spec.rules.problem import Problem, Rule, listed
from tessera.spec.urls import BLOB, DATA_FILES, DATASET, is_pattern, split_url

_PAIRS = (("files", "target_files"), ("validation_files", "validation_target_files"))


def _by_format(spec: JobSpec) -> Iterator[Problem]:
    """What must hold of a format, if there is one."""
    if spec.data.format:
        yield from (problem for rule in _OF_FORMAT for problem in rule(spec))
    else:
        yield from _several(spec)


def _several(spec: JobSpec) -> Iterator[Problem]:
    named = [
        (f"data.{name}[{index}]", url, format_by_name(url))
        for name in ("files", "validation_files")
        for index, url in enumerate(getattr(spec.data, name))
        if split_url(url)[0] != DATASET
    ]
    _, first, form = named[0]
    field, url, other = next(each for each in named if each[2] != form)
    yield Problem(
        reason="FORMATS_DIFFER",
        field=field,
        description=f"`{_short(url)}` is `{other}` by its ending, but `{_short(first)}` is "
        f"`{form}`; take files of one format, or set data.format",
    )


def _short(url: str) -> str:
    """A file as its owner knows it."""
    scheme, rest = split_url(url)
    return rest.partition("/")[2] if scheme == BLOB else url


def _format(spec: JobSpec) -> Iterator[Problem]:
    # An entrypoint may bring a data set of its own, which reads what it likes.
    form, formats = spec.data.format, TASKS[spec.task.kind].formats
    if spec.entrypoint or form in formats:
        return
    hint = " (name translations in data.target_files)" if "parallel" in formats else ""
    yield Problem(
        reason="FORMAT_NOT_FOR_TASK",
        field="data.format",
        description=f"{spec.task.kind} cannot be learned from `{form}`; "
        f"it takes {listed(formats)}{hint}; what files are that their names do not tell, "
        "data.format says, e.g. `data.format: tsv`",
    )


def _roles(spec: JobSpec) -> Iterator[Problem]:
    roles = TASKS[spec.task.kind].roles
    for role in sorted(spec.data.columns):
        if not spec.entrypoint and role not in roles:
            yield Problem(
                reason="UNKNOWN_ROLE",
                field=f"data.columns[{role}]",
                description=f"{spec.task.kind} has no role `{role}`; it has {listed(roles)}",
            )


def _columns(spec: JobSpec) -> Iterator[Problem]:
    if spec.data.columns and spec.data.format not in TABLES:
        yield Problem(
            reason="COLUMNS_NOT_FOR_FORMAT",
            field="data.columns",
            description=f"`{spec.data.format}` has no columns; leave this out, or set data.format "
            f"to one of {listed(TABLES)}",
        )


def _templates(spec: JobSpec) -> Iterator[Problem]:
    for role in sorted(spec.data.columns):
        field, column = f"data.columns[{role}]", spec.data.columns[role]
        try:
            joined = Template.parse(column) is not None
        except ValueError as error:
            yield Problem(
                reason="INVALID_TEMPLATE",
                field=field,
                description=f"`{column}` joins no columns: {error}; write it like "
                '"{title} {body}", and braces that stand for themselves twice',
            )
            continue
        if joined and role in NOT_TEXT:
            yield Problem(
                reason="INVALID_TEMPLATE",
                field=field,
                description=f"columns are joined to a text, but {role} is none; name one column",
            )


def _label_names(spec: JobSpec) -> Iterator[Problem]:
    has_classes = not set(CLASSES).isdisjoint(TASKS[spec.task.kind].roles)
    if spec.data.label_names and not has_classes and not spec.entrypoint:
        yield Problem(
            reason="LABEL_NAMES_NOT_FOR_TASK",
            field="data.label_names",
            description=f"{spec.task.kind} has no classes; leave it out",
        )
        return
    known = set(spec.task.labels)
    for raw in sorted(spec.data.label_names) if known else ():
        if spec.data.label_names[raw] not in known:
            yield Problem(
                reason="UNKNOWN_LABEL_NAME",
                field=f"data.label_names[{raw}]",
                description=f"`{spec.data.label_names[raw]}` is none of task.labels",
            )


def _delimiter(spec: JobSpec) -> Iterator[Problem]:
    if spec.data.delimiter and spec.data.format != "csv":
        yield Problem(
            reason="DELIMITER_NOT_FOR_FORMAT",
            field="data.delimiter",
            description=f"the cells of `{spec.data.format}` have no other delimiter than their own;"
            " leave this out, or set data.format to csv",
        )


def _twice(spec: JobSpec) -> Iterator[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for name, targets in _PAIRS:
        files, others = getattr(spec.data, name), getattr(spec.data, targets)
        # One source may well have several translations.
        paired = list(others) if len(others) == len(files) else [""] * len(files)
        for index, pair in enumerate(zip(files, paired, strict=True)):
            field = f"data.{name}[{index}]"
            # Files of one name and content may come from several folders.
            if pair in seen and split_url(pair[0])[0] != BLOB:
                yield Problem(
                    reason="FILE_NAMED_TWICE",
                    field=field,
                    description=f"`{pair[0]}` is {seen[pair]} already; name it once",
                )
            seen.setdefault(pair, field)


def _header(spec: JobSpec) -> Iterator[Problem]:
    if spec.data.HasField("header") and spec.data.format not in DELIMITED:
        yield Problem(
            reason="HEADER_NOT_FOR_FORMAT",
            field="data.header",
            description=f"`{spec.data.format}` has no such line, only {listed(DELIMITED)} have; "
            "leave this out",
        )


def _datasets(spec: JobSpec) -> Iterator[Problem]:
    wanted = spec.data.format == "dataset"
    for name in DATA_FILES:
        for index, url in enumerate(getattr(spec.data, name)):
            if (split_url(url)[0] == DATASET) != wanted:
                yield Problem(
                    reason="FORMAT_NOT_FOR_FILES",
                    field=f"data.{name}[{index}]",
                    description=f"the format `{spec.data.format}` takes "
                    f"{'only' if wanted else 'no'} dataset:// URLs, but here is `{url}`",
                )


def _targets(spec: JobSpec) -> Iterator[Problem]:
    parallel = spec.data.format == "parallel"
    for name, targets in _PAIRS:
        files, translations = getattr(spec.data, name), getattr(spec.data, targets)
        if translations and not parallel:
            yield Problem(
                reason="TARGETS_WITHOUT_PARALLEL",
                field=f"data.{targets}",
                description=f"`{spec.data.format}` has translations in its columns; leave this "
                "out, or set data.format to parallel",
            )
        elif files and parallel and not translations:
            yield Problem(
                reason="TARGETS_MISSING",
                field=f"data.{targets}",
                description=f"parallel text needs the translations of data.{name} here",
            )
        elif len(files) != len(translations) and parallel:
            yield from _unpaired(name, files, targets, translations)


def _unpaired(
    name: str, files: Sequence[str], targets: str, translations: Sequence[str]
) -> Iterator[Problem]:
    if any(map(is_pattern, [*files, *translations])):
        return  # Only whoever lists them knows how many they are.
    yield Problem(
        reason="FILES_NOT_PAIRED",
        field=f"data.{targets}",
        description=f"{len(translations)} files cannot be translations of the {len(files)} in "
        f"data.{name}; name one for each, in the same order",
    )


def _held_out(spec: JobSpec) -> Iterator[Problem]:
    if spec.data.HasField("held_out") and spec.data.validation_files:
        yield Problem(
            reason="HELD_OUT_AND_VALIDATION",
            field="data.held_out",
            description="nothing is held out where data.validation_files are evaluated on; "
            "leave one of them out",
        )


_OF_FORMAT: tuple[Rule, ...] = (_format, _columns, _header, _delimiter, _datasets, _targets)

RULES: tuple[Rule, ...] = (_roles, _templates, _label_names, _by_format, _twice, _held_out)
