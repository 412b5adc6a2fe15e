"""The end of a platform, also of one whose supervisor is gone: exactly its own processes."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

from tessera import errors
from tessera.local import attached
from tessera.local.home import Home
from tessera.local.process import end, kill_members
from tessera.local.state import State

_SUPERVISOR_SECONDS = 40.0
_CONTROLLER_SECONDS = 6.0
_RAY_SECONDS = 8.0


def stop(home: Home) -> bool:
    """End the platform of a home; returns whether anything ran.

    The supervisor is asked first; whatever is left afterwards is ended here.

    Raises:
        InternalError: a process resists SIGKILL.
    """
    if not home.exists:
        return False
    state = State.load(home.state_path)
    ran = home.is_locked
    supervisor = state.processes.get("supervisor") if state else None
    if supervisor and (found := supervisor.find()):
        end([found], _SUPERVISOR_SECONDS)
        ran = True
    _await_lock(home)
    with home.locked():
        left = State.load(home.state_path)
        if left is not None:
            ran = end_all(left) or ran
            home.ray_path.unlink(missing_ok=True)
            home.state_path.unlink(missing_ok=True)
    return ran


def end_all(state: State, own: int = 0) -> bool:
    """End every process of a platform and delete its files in the temporary folder.

    Args:
        state: what was written down about it.
        own: number of the calling process, which is spared.

    Returns:
        Whether any process lived.

    Raises:
        InternalError: a process resists SIGKILL.
    """
    refs = {name: ref for name, ref in state.processes.items() if ref.pid != own}
    ran = any(ref.alive for ref in refs.values())
    for name in ("supervisor", "controller"):
        if name in refs and (found := refs[name].find()):
            end([found], _CONTROLLER_SECONDS)
    if state.attached:
        token = Path(state.ray_token_path) if state.ray_token_path else None
        with contextlib.suppress(OSError):  # That cluster may be gone.
            attached.leave(state.dashboard, state.ray_address, token)
    end_ray(state)
    return ran


def end_ray(state: State) -> None:
    """End the platform's own Ray cluster, if it has one, and all that still bears its mark.

    Raises:
        InternalError: a process resists SIGKILL.
    """
    ray = state.processes.get("ray")
    if ray and (found := ray.find()):
        end([found], _RAY_SECONDS)
    if not kill_members(state.platform, [ray] if ray else []):
        raise errors.InternalError("a process of the platform resists SIGKILL; see `ps`")
    if state.ray_temp_dir:
        shutil.rmtree(state.ray_temp_dir, ignore_errors=True)


def _await_lock(home: Home) -> None:
    """A supervisor that was starting when the state was read gets a moment to see its end."""
    deadline = time.monotonic() + _SUPERVISOR_SECONDS
    while home.is_locked and time.monotonic() < deadline:
        state = State.load(home.state_path)
        supervisor = state.processes.get("supervisor") if state else None
        if supervisor and (found := supervisor.find()):
            end([found], _SUPERVISOR_SECONDS)
        time.sleep(0.1)
