"""What goes wrong in a simulation, and how often. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Rates and chances of faults; by default there are none.

    Args:
        node_mtbf: mean seconds until a node dies; 0: none does.
        node_repair: mean seconds until it is back.
        job_failure: chance that an attempt fails before its end, through no fault of a node.
        retries: attempts that are made after such failures.
        forgotten: chance that a decision is not carried out, the controller having died between
            writing it down and telling: it is told again later.
        restart: chance, before each pass, that the controller starts anew from what it stored.
        graceless: chance that who is asked to go stays until its deadline.
    """

    node_mtbf: float = 0.0
    node_repair: float = 1800.0
    job_failure: float = 0.0
    retries: int = 2
    forgotten: float = 0.0
    graceless: float = 0.0
    restart: float = 0.0
