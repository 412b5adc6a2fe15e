"""`tessera status`: what runs, where, and how much of the pools is held."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from tessera import errors
from tessera.cli import show
from tessera.cli.home import home_of
from tessera.cli.sizes import show_size
from tessera.local import overview, readiness
from tessera.local.home import Home
from tessera.local.state import State


def status(context: typer.Context) -> None:
    """Show addresses, processes, pools, services, jobs and deployments."""
    home = home_of(context)
    state = State.load(home.state_path)
    if state is None:
        raise errors.FailedPreconditionError(
            f"no platform runs in {home.path}; start one with `tessera up`", reason="NOT_RUNNING"
        )
    values = overview.addresses(home, state)
    values["processes"] = overview.processes(state)
    values["platform"] = overview.totals(state)
    trouble = _add_workloads(values, home, state)
    if context.obj.output == "json":
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        _show(values)
    if trouble:
        raise trouble


def _add_workloads(values: dict[str, Any], home: Home, state: State) -> errors.TesseraError | None:
    """Ask the controller; what it does not answer is told after the rest is shown."""
    try:
        values.update(overview.workloads(state, readiness.shown(home, state)))
    except errors.TesseraError as error:
        return errors.UnavailableError(
            f"the controller at {state.controller or '?'} does not answer: {error.message}; see "
            f"{home.log_path('controller')}",
            reason="CONTROLLER_UNREACHABLE",
        )
    return None


def _show(values: Mapping[str, Any]) -> None:
    total = values["platform"]
    names = ("home", "phase", "controller", "dashboard", "ray_address", "metrics")
    rows = [(name.replace("_", " "), values[name]) for name in names if values[name]]
    rows.append(("memory", f"{show_size(total['rss'])} in {total['processes']} processes"))
    _table("", rows)
    kept = [
        (p["name"], f"pid {p['pid']}", show_size(p["rss"]) if p["alive"] else "dead")
        for p in values["processes"]
    ]
    _table("Processes", kept)
    pools = [
        (p["name"], "live" if p["live"] else "unseen", _held(p), p["message"])
        for p in values.get("pools", ())
    ]
    _table("Pools", pools)
    services = [
        (s["role"], s["name"], s["address"], f"pid {s['pid']}", s["state"], s["page"])
        for s in values.get("services", ())
    ]
    _table("Services", services)
    _table("Shards", [_shard(shard) for shard in values.get("shards", ())])
    _table("Jobs", [(state, str(n)) for state, n in values.get("jobs", {}).items()])
    deployments = [
        (
            d["name"],
            d["state"],
            f"{d['model']} version {d['version'] or '?'}",
            f"{d['ready_replicas']}/{d['replicas']} ready",
            d["message"],
        )
        for d in values.get("deployments", ())
    ]
    _table("Deployments", deployments)


def _shard(shard: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        shard["name"],
        f"{shard['versions']} versions",
        f"{show_size(shard['disk_bytes'])} on disk",
        f"{show_size(shard['memory_bytes'])} in memory",
    )


def _held(pool: Mapping[str, Any]) -> str:
    """What is held of what there is: `CPU 2.75/8`."""
    shown = (name for name in sorted(pool["total"]) if name in {"CPU", "GPU", "TPU"})
    return ", ".join(
        f"{name} {pool['held'].get(name, 0):g}/{pool['total'][name]:g}" for name in shown
    )


def _table(title: str, rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    if title:
        show.console().print(f"\n{title}", style="bold")
    show.facts(rows)
