"""What a supervisor writes down about its platform, for every other command to read."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tessera.durable_file import PRIVATE, write_durably
from tessera.local.process import ProcessRef

STARTING, RUNNING, STOPPING, FAILED = "starting", "running", "stopping", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A platform.

    `platform` is the id that its processes carry; addresses are empty until they are known;
    `ray_temp_dir` is empty where the Ray cluster is somebody else's. `ca` is the file with the
    authority of the controller's certificate; empty: nothing is encrypted.
    """

    platform: str
    phase: str = STARTING
    message: str = ""
    started: float = field(default_factory=time.time)
    controller: str = ""
    ca: str = ""
    dashboard: str = ""
    ray_address: str = ""
    metrics: str = ""
    ray_temp_dir: str = ""
    ray_token_path: str = ""
    shards: int = 0
    processes: Mapping[str, ProcessRef] = field(default_factory=dict)

    @property
    def attached(self) -> bool:
        """Whether it runs on a Ray cluster that it did not start."""
        return bool(self.ray_address) and not self.ray_temp_dir

    @property
    def leaders(self) -> list[ProcessRef]:
        """Leaders of the sessions that its processes live in."""
        return list(self.processes.values())

    def save(self, path: Path) -> None:
        """Write it, atomically."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        processes = values.pop("processes")
        supervisor = processes.get("supervisor")
        values["supervisor_pid"] = supervisor.pid if supervisor else 0
        values["pids"] = {name: ref.pid for name, ref in processes.items()}
        values["pid_started"] = {name: ref.started for name, ref in processes.items()}
        values["pid_boot"] = {name: ref.boot for name, ref in processes.items()}
        write_durably(path, (json.dumps(values, indent=2) + "\n").encode(), mode=PRIVATE)

    @classmethod
    def load(cls, path: Path) -> State | None:
        """The state that is written there; None if there is none that can be read."""
        try:
            values = json.loads(path.read_text())
            pids, times, boots = (values.pop(key) for key in ("pids", "pid_started", "pid_boot"))
            values["processes"] = {
                name: ProcessRef(pid=int(pid), started=float(times[name]), boot=str(boots[name]))
                for name, pid in pids.items()
            }
            known = {f.name for f in dataclasses.fields(cls)}
            return cls(**{name: value for name, value in values.items() if name in known})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
