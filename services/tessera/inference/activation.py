"""Keeps the version that should be served in an engine: loads it, switches to it, pins it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from tessera import errors
from tessera.inference.config import ServedModel
from tessera.inference.engine.engine import Engine
from tessera.inference.head_lag import HeadLag
from tessera.inference.weights import PIN_SECONDS, Loader
from tessera.weights.coordinator import Coordinator
from tessera.weights.watch import Watch

log = structlog.get_logger()

RETRY_SECONDS = 2.0
_LOAD, _PIN, _WATCH = "load", "pin", "watch"
MOST_VERSIONS = 2
"""Versions in memory while the next one is loaded: the active one, and one that ends its work."""


class Activation:
    """One thread that loads and switches and, if the deployment follows its set, one that watches.

    A request that began on a version ends on it; commits that come while a version is loaded are
    skipped but for the newest. A version that can never be loaded is not tried again: what is
    served stays, and the next version of the set gets its turn.

    Args:
        served: what to serve.
        loader: of its set.
        coordinator: tells of new versions.
        changed: called from a thread whenever something below has changed.
    """

    def __init__(
        self,
        served: ServedModel,
        loader: Loader,
        coordinator: Coordinator,
        changed: Callable[[], None],
    ) -> None:
        self._served = served
        self._loader = loader
        self._coordinator = coordinator
        self._changed = changed
        self._wake = threading.Condition()
        self._wanted = served.version
        self._head = HeadLag()
        self._given_up = 0
        self._closed = False
        self._watch: Watch | None = None
        self._threads = [threading.Thread(target=self._keep, name="activation", daemon=True)]
        if served.follow:
            self._threads.append(threading.Thread(target=self._follow, name="watch", daemon=True))
        self.engine: Engine | None = None
        self.staged = False
        waiting = f"waiting for a version of {served.set}"
        self._troubles = {_LOAD: waiting, _PIN: "", _WATCH: ""}

    @property
    def message(self) -> str:
        """What is wrong, or what it waits for; empty if all is well."""
        return "; ".join(trouble for trouble in self._troubles.values() if trouble)

    @property
    def lag(self) -> int:
        """Moves of the head that were heard of since the active version was it."""
        with self._wake:
            return self._head.lag

    @property
    def failed(self) -> bool:
        """Whether nothing is served, and what should be can never be loaded."""
        return self.engine is None and 0 < self._given_up == self._wanted

    def start(self) -> None:
        """Begin; the first version is loaded as soon as there is one."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop the threads and close the engine; the pin runs out by itself."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._watch is not None:
            self._watch.close()
        if self.engine is not None:
            self.engine.close()

    def _follow(self) -> None:
        while not self._closed:
            self._watch = self._coordinator.watch_set(self._served.set)
            try:
                for version in self._watch:
                    with self._wake:
                        self._wanted = version.number
                        self._head.heard(version.number, self._watch.move)
                        self._wake.notify_all()
                    self._troubles[_WATCH] = ""
                    self._changed()
            except errors.TesseraError as error:
                self._tell(_WATCH, error.message)
            self._pause(RETRY_SECONDS)

    def _keep(self) -> None:
        while not self._closed:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._due, PIN_SECONDS / 3)
                wanted, move, due = self._wanted, self._head.move, self._due
            if self._closed:
                return
            try:
                if due:
                    self._switch(wanted, move)
                elif self.engine is not None:
                    self._pin(self.engine.active.version)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and another version may come
                self._fail(wanted, error)

    def _pin(self, version: int) -> None:
        try:
            self._loader.pin(version)
        except errors.TesseraError as error:
            self._tell(_PIN, f"version {version} is not pinned: {error.message}")
            self._pause(RETRY_SECONDS)
        else:
            self._tell(_PIN, "")

    def _fail(self, version: int, error: Exception) -> None:
        """A version was not loaded: try again in a while, or never."""
        transient = errors.is_transient(error)
        log.warning(
            "no switch",
            version=version,
            message=errors.describe(error),
            transient=transient,
            exc_info=not isinstance(error, errors.TesseraError),
        )
        if not transient:
            self._given_up = version
        self.staged = False
        self._tell(_LOAD, f"version {version}: {errors.describe(error)}")
        self._changed()
        if transient:
            self._pause(RETRY_SECONDS)

    @property
    def _due(self) -> bool:
        active = 0 if self.engine is None else self.engine.active.version
        return self._wanted not in {0, active, self._given_up}

    def _switch(self, version: int, move: int) -> None:
        if self.engine is not None and not self.engine.wait(RETRY_SECONDS, versions=MOST_VERSIONS):
            return  # Old requests hold too much memory; the loop tries again.
        model = self._loader.load(version)
        self.staged = True
        self._changed()
        engine, old = self.engine, 0
        if engine is None:
            engine = Engine(model, self._served.engine)
            engine.start()
        else:
            old = engine.active.version
            engine.stage(model)
        # Before it is seen to serve: an old trouble is not the new version's.
        self._troubles[_LOAD] = self._troubles[_PIN] = ""
        self.staged = False
        if old:
            engine.activate(model)
            self._loader.unpin(old)
        with self._wake:
            self.engine = engine
            self._head.serves(version, move)
        self._changed()
        log.info("version active", set=model.set, version=model.version)

    def _tell(self, what: str, trouble: str) -> None:
        if self._troubles[what] != trouble:
            self._troubles[what] = trouble
            self._changed()

    def _pause(self, seconds: float) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closed, seconds)
