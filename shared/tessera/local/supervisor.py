"""The one process that keeps a local platform alive: Ray, then the controller, until told to stop.

    up ──spawns──► supervisor ──starts──► ray start --head --block   (session of its own)
                        │     ──starts──► tessera.controller         (again when it dies)
                        └──writes──► state.json ◄──reads── up, down, status, client

Everything else (parameter actors, training, replicas) the controller starts through Ray. If the
supervisor itself is killed the platform goes on; the next one takes over what still lives.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import structlog

from tessera import errors
from tessera.environment import SECRET_PREFIX, SECRETS_DIR
from tessera.local import ray_api, teardown
from tessera.local.backoff import Backoff
from tessera.local.child import Child
from tessera.local.home import Home
from tessera.local.network import address_towards, free_port, is_free, listens
from tessera.local.options import Options
from tessera.local.process import MARK, ProcessRef
from tessera.local.ray_head import RayHead, client_env
from tessera.local.ray_tls import ray_tls
from tessera.local.state import FAILED, RUNNING, STARTING, STOPPING, State
from tessera.rpc.address import join, split
from tessera.rpc.tls.authority import Authority

log = structlog.get_logger()

_POLL_SECONDS = 0.2
_CONTROLLER_GRACE = 6.0
_EARLY_DEATHS = 3


class Supervisor:
    """Runs one platform; the caller holds the home's lock.

    Args:
        home: its state directory, prepared.
        options: what was asked for.
        stop: set when it should end.
    """

    def __init__(self, home: Home, options: Options, stop: threading.Event) -> None:
        self._home, self._options, self._stop = home, options, stop
        self._state = State(platform=uuid.uuid4().hex, shards=options.shards)
        self._ray: Child | None = None
        self._controller: Child | None = None
        self._controller_started = 0.0

    def run(self) -> int:
        """Start everything, watch it, end it; returns the process's exit code."""
        try:
            self._start()
            self._watch()
        except errors.CancelledError:
            log.info("stopped while starting")
        except errors.TesseraError as error:
            log.warning("the platform cannot run", reason=error.reason, message=error.message)
            self._end()
            self._save(phase=FAILED, message=error.message, processes={})
            return 1
        self._save(phase=STOPPING)
        self._end()
        self._home.state_path.unlink(missing_ok=True)
        return 0

    @property
    def _ca(self) -> str:
        """The file that clients find the controller's authority in; empty: nothing is encrypted."""
        return str(self._home.ca_path(self._options.tls_dir)) if self._options.tls else ""

    def _start(self) -> None:
        self._take_over()
        if self._options.tls:
            Authority.of(self._home.path)
        own = ProcessRef.of(os.getpid())
        refs = {**self._state.processes, "supervisor": own}
        self._save(phase=STARTING, message="", processes=refs)
        if self._options.ray_address:
            self._attach()
        elif self._ray is None:
            self._start_ray()
        if self._controller is None:
            self._start_controller()
        self._await_controller()
        self._save(phase=RUNNING)
        log.info("running", controller=self._state.controller, ray=self._state.ray_address)

    def _take_over(self) -> None:
        """Adopt a platform whose supervisor was killed, or end what is left of it."""
        before = State.load(self._home.state_path)
        if before is None:
            return
        if not self._goes_on(before):
            teardown.end_all(before)
            # Clients that know the old address find the platform there again.
            self._state = dataclasses.replace(self._state, controller=before.controller)
            return
        log.info("taking over", platform=before.platform)
        ray, controller = before.processes.get("ray"), before.processes.get("controller")
        self._state, self._ray = before, Child(ref=ray) if ray else None
        if controller and controller.alive:
            self._controller = Child(ref=controller)
            self._controller_started = time.monotonic()

    def _goes_on(self, before: State) -> bool:
        """Whether the cluster of an earlier supervisor still serves."""
        if before.phase != RUNNING or before.shards != self._options.shards:
            return False
        if before.ca != self._ca:
            return False
        if before.attached or self._options.ray_address:
            return before.ray_address == self._options.ray_address
        return before.processes["ray"].alive

    def _start_ray(self) -> None:
        head = RayHead(
            token_path=self._home.ray_token_path,
            log_path=self._home.log_path("ray"),
            cpus=self._options.cpus,
            mark=self._state.platform,
            environment={
                SECRETS_DIR: os.environ.get(SECRETS_DIR) or str(self._home.secrets_path),
                **self._options.charts(),
                **(ray_tls(self._home.path) if self._options.ray_tls else {}),
            },
        )

        def started(ref: ProcessRef) -> None:
            self._ray = head.child
            self._home.lead_to_ray(head.ray_dir)
            self._save(
                processes={**self._state.processes, "ray": ref},
                ray_temp_dir=str(head.temp_dir),
                ray_token_path=str(self._home.ray_token_path),
            )

        found = head.bring_up(started, stopped=self._stop.is_set)
        self._save(ray_address=found.gcs, dashboard=found.dashboard, metrics=found.metrics)
        log.info("ray is up", address=found.gcs, dashboard=found.dashboard)

    def _attach(self) -> None:
        options = self._options
        token = Path(options.ray_token_path) if options.ray_token_path else None
        try:
            ray_api.get(f"{options.dashboard}/api/jobs/", token)
        except OSError as error:
            raise errors.UnavailableError(
                f"no Ray dashboard answers at {options.dashboard}: {error}",
                reason="RAY_UNREACHABLE",
            ) from error
        self._save(
            ray_address=options.ray_address,
            dashboard=options.dashboard,
            ray_token_path=options.ray_token_path,
            ray_temp_dir="",
        )

    def _start_controller(self) -> None:
        listen = self._listen_address()
        state = self._state
        command = ["-m", "tessera.controller", "--listen", listen]
        command += ["--home", str(self._home.path), "--shards", str(self._options.shards)]
        command += ["--pool", f"local,{state.dashboard},{state.ray_address}"]
        if self._options.parameter_replicas:
            command += ["--parameter-replicas", str(self._options.parameter_replicas)]
        if self._options.disk_cap:
            command += ["--disk-cap-bytes", str(self._options.disk_cap)]
        for option, file in (("--oidc", self._options.oidc), ("--limits", self._options.limits)):
            command += [option, file] if file else []
        if self._options.tls:
            command += ["--tls"]
        if self._options.tls_dir:
            command += ["--tls-dir", self._options.tls_dir]
        # What is for the ranks alone does not come here.
        env = {n: v for n, v in os.environ.items() if not n.startswith(SECRET_PREFIX)}
        env[MARK] = state.platform
        if state.ray_token_path:
            env.update(client_env(Path(state.ray_token_path)))
        self._controller = Child.start(
            command, env, self._home.log_path("controller"), self._home.path
        )
        self._controller_started = time.monotonic()
        refs = {**state.processes, "controller": self._controller.ref}
        self._save(controller=listen, processes=refs, ca=self._ca)

    def _listen_address(self) -> str:
        """The recorded address if it can still be had, else a new one."""
        host = address_towards(self._state.ray_address)
        if self._state.controller:
            known, port = split(self._state.controller)
            if known == host and is_free(host, port):
                return self._state.controller
        return join(host, free_port(host))

    def _await_controller(self) -> None:
        """Return when its port answers; give up after a few deaths in a row."""
        backoff = Backoff()
        while not self._stop.is_set() and self._controller is not None:
            if listens(self._state.controller):
                return
            if not self._controller.alive:
                wait = backoff.died(time.monotonic() - self._controller_started)
                if backoff.deaths >= _EARLY_DEATHS:
                    raise errors.UnavailableError(
                        f"the controller ended with code {self._controller.code} while it was "
                        f"starting; see {self._home.log_path('controller')}",
                        reason="CONTROLLER_DIED",
                    )
                self._stop.wait(wait)
                self._start_controller()
            self._stop.wait(_POLL_SECONDS)
        raise errors.CancelledError("stopped while the controller was starting")

    def _watch(self) -> None:
        """Bring back what dies, until told to stop."""
        controller_backoff, ray_backoff = Backoff(), Backoff()
        ray_started = time.monotonic()
        while not self._stop.wait(_POLL_SECONDS):
            if self._ray is not None and not self._ray.alive:
                log.error("ray died; a new cluster is started", code=self._ray.code)
                self._stop.wait(ray_backoff.died(time.monotonic() - ray_started))
                self._renew(self._restart_ray)
                ray_started = time.monotonic()
            elif self._controller is not None and not self._controller.alive:
                log.error("the controller died; it is started again", code=self._controller.code)
                lived = time.monotonic() - self._controller_started
                self._stop.wait(controller_backoff.died(lived))
                self._renew(self._start_controller)

    def _renew(self, start: Callable[[], None]) -> None:
        """Start something again; what goes wrong is tried again at the next look."""
        if self._stop.is_set():
            return
        try:
            start()
        except (errors.TesseraError, OSError) as error:
            log.warning("start failed", error=str(error))

    def _restart_ray(self) -> None:
        """A fresh cluster; the controller starts anew because its pool's address changes."""
        if self._controller is not None:
            self._controller.stop(_CONTROLLER_GRACE)
        teardown.end_ray(self._state)
        self._start_ray()
        self._start_controller()

    def _end(self) -> None:
        """End the controller first, so that it does not take Ray's end for a failure."""
        if self._controller is not None:
            self._controller.stop(_CONTROLLER_GRACE)
        teardown.end_all(self._state, own=os.getpid())
        self._home.ray_path.unlink(missing_ok=True)

    def _save(self, **changes: object) -> None:
        self._state = dataclasses.replace(self._state, **changes)  # type: ignore[arg-type]
        self._state.save(self._home.state_path)
