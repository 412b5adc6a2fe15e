"""Rules for which variables a job may set to secrets, and how it names where they are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec.rules.problem import Problem, Rule, listed

SOURCES = ("env", "file", "kubernetes")

RESERVED = re.compile(
    r"(TESSERA_|RAY_|PYTHON|LD_|DYLD_|MALLOC_|BASH_).*"
    r"|PATH|HOME|USER|LOGNAME|SHELL|PWD|TMPDIR|TEMP|TMP|IFS|ENV|PS4|LC_ALL|LANG|GCONV_PATH"
    r"|NO_PROXY|VIRTUAL_ENV|NODE_OPTIONS|RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|NODE_RANK"
    r"|GROUP_RANK|MASTER_ADDR|MASTER_PORT|CUDA_VISIBLE_DEVICES|GLOO_SOCKET_IFNAME",
    re.IGNORECASE,
)
"""Variables that say which code runs, or that the platform and its cluster go by."""


def _reserved(spec: JobSpec) -> Iterator[Problem]:
    for name in sorted(spec.secrets):
        if RESERVED.fullmatch(name):
            yield Problem(
                reason="RESERVED_VARIABLE",
                field=f"secrets[{name}]",
                description=f"`{name}` is a variable that the platform or the system goes by; "
                "choose another name",
            )


def _sources(spec: JobSpec) -> Iterator[Problem]:
    for name in sorted(spec.secrets):
        stated = [source.name for source, _ in spec.secrets[name].ListFields()]
        if len(stated) != 1:
            yield Problem(
                reason="SECRET_SOURCE",
                field=f"secrets[{name}]",
                description=f"exactly one of {listed(SOURCES)} says where the pool keeps it, but "
                f"here {'is none' if not stated else 'are ' + listed(stated)}",
            )


RULES: tuple[Rule, ...] = (_reserved, _sources)
