"""TPU slices: topologies, hosts, and what the names of their types count. Pure.

A slice is one unit: all of its hosts, or none. The suffix of a type counts TensorCores for v4, v5p
and tpu7x (two to a chip: v5p-8 has four chips), and chips for v5e and v6e.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tessera import errors

_TOPOLOGY = re.compile(r"[1-9]\d*(x[1-9]\d*){1,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TpuGeneration:
    """A generation of TPUs.

    Args:
        flavour: Ray's accelerator type.
        dimensions: of a topology.
        cores: TensorCores of a chip that a type's suffix counts; 1: it counts chips.
        hosts: chips that one host may have.
    """

    flavour: str
    dimensions: int
    cores: int
    hosts: tuple[int, ...]


GENERATIONS = {
    "v4": TpuGeneration(flavour="TPU-V4", dimensions=3, cores=2, hosts=(4,)),
    "v5e": TpuGeneration(flavour="TPU-V5LITEPOD", dimensions=2, cores=1, hosts=(1, 4, 8)),
    "v5p": TpuGeneration(flavour="TPU-V5P", dimensions=3, cores=2, hosts=(4,)),
    "v6e": TpuGeneration(flavour="TPU-V6E", dimensions=2, cores=1, hosts=(1, 4, 8)),
    "tpu7x": TpuGeneration(flavour="TPU-V7X", dimensions=3, cores=2, hosts=(1, 4)),
}
_NAMES = {"v5litepod": "v5e", "v5lite": "v5e", "v7x": "tpu7x", "7x": "tpu7x"}


def generation_of(name: str) -> TpuGeneration:
    """By any of its names: `v5e`, `v5litepod`, `TPU-V5LITEPOD`, `tpu7x`.

    Raises:
        InvalidArgumentError: there is none of that name (TPU_UNKNOWN).
    """
    plain = name.lower().removeprefix("tpu-").removeprefix("tpu")
    known = GENERATIONS.get(_NAMES.get(plain, plain))
    if known is None:
        raise errors.InvalidArgumentError(
            f"'{name}' is no TPU generation; there are {', '.join(GENERATIONS)}",
            reason="TPU_UNKNOWN",
        )
    return known


def chips_of(topology: str) -> int:
    """Chips of a topology such as `4x4`: the product of its sides.

    Raises:
        InvalidArgumentError: it is none (TPU_TOPOLOGY).
    """
    if not _TOPOLOGY.fullmatch(topology):
        raise errors.InvalidArgumentError(
            f"'{topology}' is no topology; write its sides, such as 4x4 or 2x2x2",
            reason="TPU_TOPOLOGY",
        )
    return math.prod(int(side) for side in topology.split("x"))


def chips_of_type(name: str) -> int:
    """Chips of a slice by the name of its type: four for `v5p-8`, eight for `v5e-8`.

    Raises:
        InvalidArgumentError: the name is none, or counts half a chip (TPU_UNKNOWN).
    """
    generation, _, count = name.rpartition("-")
    known = generation_of(generation)
    if not count.isdecimal() or not int(count) or int(count) % known.cores:
        raise errors.InvalidArgumentError(
            f"'{name}' names no slice: its number counts "
            f"{'TensorCores, two to a chip' if known.cores == 2 else 'chips'}",  # noqa: PLR2004
            reason="TPU_UNKNOWN",
        )
    return int(count) // known.cores


def hosts_of(name: str, topology: str, chips_per_host: int) -> int:
    """Hosts of a slice, each of which has so many chips.

    Raises:
        InvalidArgumentError: no such slice exists (TPU_UNKNOWN, TPU_TOPOLOGY).
    """
    generation, chips = generation_of(name), chips_of(topology)
    problem = ""
    if topology.count("x") + 1 != generation.dimensions:
        problem = f"a {name} slice has {generation.dimensions} sides"
    elif chips_per_host not in generation.hosts:
        allowed = " or ".join(str(count) for count in generation.hosts)
        problem = f"a {name} host has {allowed} chips, not {chips_per_host}"
    elif chips % chips_per_host:
        problem = f"{chips} chips are no whole number of hosts of {chips_per_host}"
    elif chips_per_host == 1 and chips != 1:
        problem = "hosts of one chip are slices of their own"
    if problem:
        raise errors.InvalidArgumentError(f"{name} {topology}: {problem}", reason="TPU_TOPOLOGY")
    return chips // chips_per_host


def check_workers(name: str, topology: str, workers: int, chips_per_worker: int) -> int:
    """How many slices a gang with a worker on each host takes.

    Raises:
        InvalidArgumentError: its workers are not those of whole slices (TPU_TOPOLOGY,
            TPU_WORKERS, TPU_UNKNOWN).
    """
    hosts = hosts_of(name, topology, chips_per_worker)
    if workers % hosts:
        raise errors.InvalidArgumentError(
            f"a {name} slice {topology} has {hosts} hosts: "
            f"ask for {hosts} workers, or for a multiple, not for {workers}",
            reason="TPU_WORKERS",
        )
    return workers // hosts
