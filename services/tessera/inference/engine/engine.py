"""The engine: a thread that steps as long as there is work, and an asyncio front.

    submit ──► scheduler ──► plan ──► runner ──► answers ──► streams (on the caller's loop)
                   ▲                                │
                   └────────── what ended ◄─────────┘

A request is bound to the version that is active when it is submitted and ends on it; a version
that is no longer active is dropped when its last request has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable

import structlog

from tessera import errors
from tessera.inference.engine.answer import Answer, Output
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.generation import Generation
from tessera.inference.engine.model import LoadedModel
from tessera.inference.engine.runner import Runner
from tessera.inference.engine.sampling import Sampled
from tessera.inference.engine.scheduler import Plan, Scheduler
from tessera.inference.engine.sequence import Request, Sequence
from tessera.inference.engine.settings import EngineSettings, EngineStatus
from tessera.inference.engine.stream import Outbox

log = structlog.get_logger()


class Engine:
    """Serves one or, while it switches, several versions of a model.

    Args:
        model: the first version; it is active at once.
        settings: bounds.
        clock: seconds, for deadlines.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: EngineSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blocks = BlockManager(settings.blocks_for(model.config.context), settings.block_size)
        self._scheduler = Scheduler(self._blocks, settings.limits)
        self._runner = Runner(self._blocks.total, settings.block_size, model.tensor.device)
        self._runner.load(model)
        self._clock = clock
        self._outbox = Outbox(settings.coalesce_seconds, clock)
        self._active = model
        self._generations: dict[int, Generation] = {}
        self._cancelled: list[Sequence] = []
        self._number = 0
        self._closed = False
        self._message = ""
        self._progress = clock()
        # Guards all of the above. It is free during a step, so a step's sequences are changed by
        # the engine's thread alone.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)

    @property
    def active(self) -> LoadedModel:
        """The version that new requests get."""
        return self._active

    def context(self, model: LoadedModel) -> int:
        """Longest sequence in tokens: the model's context, or all of the cache if that is less."""
        return min(model.config.context, self._blocks.capacity)

    def start(self) -> None:
        """Begin to step."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the current step and break off what runs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        with self._changed:
            self._drop_cancelled()
            self._fail(list(self._generations.values()), _closed())

    def stage(self, model: LoadedModel) -> None:
        """Keep a version ready beside the active one."""
        with self._changed:
            self._runner.load(model)

    def activate(self, model: LoadedModel) -> None:
        """Give a staged version to all requests from now on; those that began end on theirs."""
        with self._changed:
            self._active = model
            self._retire()
            self._changed.notify_all()

    def submit(self, request: Request, model: LoadedModel) -> Generation:
        """Let a request into the queue; call it on the loop that reads the answer.

        Raises:
            AbortedError: `model` is not active any more; encode the prompt for the one that is.
            ResourceExhaustedError: the queue is full.
            UnavailableError: the engine is closed.
        """
        limit = min(len(request.prompt) + request.max_tokens, self.context(model))
        with self._changed:
            if self._closed:
                raise _closed()
            if model is not self._active:
                raise errors.AbortedError("the version was replaced", reason="VERSION_REPLACED")
            self._number += 1
            sequence = Sequence(
                self._number,
                model.version,
                request.prompt,
                limit=limit,
                sampling=request.sampling,
                deadline=request.deadline,
            )
            if self._scheduler.idle:
                self._progress = self._clock()
            self._scheduler.add(sequence)
            generation = Generation(Answer(sequence, request, model), self.cancel)
            self._generations[sequence.number] = generation
            self._changed.notify_all()
            return generation

    async def generate(self, request: Request) -> AsyncIterator[Output]:
        """Submit to the active version and read the answer."""
        async for part in self.submit(request, self._active):
            yield part

    def cancel(self, generation: Generation) -> None:
        """Give a request up; its blocks are free before the next step."""
        with self._changed:
            if self._generations.pop(generation.number, None) is not None:
                self._cancelled.append(generation.answer.sequence)

    def wait(self, timeout: float, *, versions: int | None = None) -> bool:
        """Wait until nothing runs or waits or, with `versions`, at most so many are in memory.

        Returns:
            False if that took longer than `timeout` seconds.
        """
        with self._changed:
            if versions is None:
                return self._changed.wait_for(lambda: self._scheduler.idle, timeout)
            return self._changed.wait_for(lambda: len(self._runner.versions) <= versions, timeout)

    def stalled(self, seconds: float) -> bool:
        """Whether there is work but no step has ended for so long."""
        with self._changed:
            return not self._scheduler.idle and self._clock() - self._progress > seconds

    def status(self) -> EngineStatus:
        """What it is doing now."""
        with self._changed:
            return EngineStatus(
                version=self._active.version,
                versions=tuple(sorted(self._runner.versions)),
                running=self._scheduler.running,
                waiting=self._scheduler.waiting,
                free_blocks=self._blocks.free,
                total_blocks=self._blocks.total,
                message=self._message,
            )

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._scheduler.idle)
                if self._closed:
                    return
                plan = self._plan()
            if not (plan.prefill or plan.decode):
                continue
            try:
                done = self._runner.run(plan)
            except Exception as error:
                log.exception("a step failed")
                self._break_off(plan, error)
            else:
                self._finish_step(done)

    def _plan(self) -> Plan:
        self._drop_cancelled()
        plan = self._scheduler.schedule(self._clock())
        if plan.expired:
            late = errors.DeadlineExceededError("the answer took longer than the call's deadline")
            self._fail(self._known(plan.expired), late)
        self._settle()
        return plan

    def _finish_step(self, done: Iterable[tuple[Sequence, Sampled]]) -> None:
        urgent = False
        with self._changed:
            self._progress = self._clock()
            self._drop_cancelled()
            for sequence, sampled in done:
                generation = self._generations.get(sequence.number)
                if generation is None:
                    continue  # Cancelled during the step.
                part = generation.answer.accept(sampled)
                self._outbox.put(generation.stream, part)
                urgent = urgent or part.finish is not None or sequence.written == 1
                if part.finish is not None:
                    del self._generations[sequence.number]
                    self._scheduler.remove(sequence, self._progress)
                    self._runner.forget(sequence)
            self._settle()
        self._outbox.flush(urgent=urgent)

    def _break_off(self, plan: Plan, error: Exception) -> None:
        """End the requests of a step that failed; the engine goes on with the others."""
        broken = errors.InternalError("the engine failed; its log has the details")
        with self._changed:
            self._message = f"a step failed: {type(error).__name__}: {error}"
            self._progress = self._clock()
            self._drop_cancelled()
            self._fail(self._known((*plan.prefill, *plan.decode)), broken)
            self._settle()

    def _known(self, sequences: Iterable[Sequence]) -> list[Generation]:
        return [self._generations[s.number] for s in sequences if s.number in self._generations]

    def _fail(self, generations: list[Generation], error: errors.TesseraError) -> None:
        for generation in generations:
            del self._generations[generation.number]
            self._scheduler.remove(generation.answer.sequence)
            self._runner.forget(generation.answer.sequence)
            self._outbox.put(generation.stream, error)
        self._outbox.flush(urgent=True)

    def _drop_cancelled(self) -> None:
        for sequence in self._cancelled:
            self._scheduler.remove(sequence)
            self._runner.forget(sequence)
        self._cancelled.clear()

    def _settle(self) -> None:
        """Drop what nobody needs and tell those who wait for it."""
        self._retire()
        if self._scheduler.idle:
            self._changed.notify_all()

    def _retire(self) -> None:
        loaded = self._runner.versions
        if len(loaded) == 1:
            return
        # A version that is newer than the active one is staged.
        needed = self._scheduler.versions() | {self._active.version}
        gone = {v for v in loaded - needed if v < self._active.version}
        for version in gone:
            self._runner.unload(version)
        if gone:
            self._changed.notify_all()


def _closed() -> errors.UnavailableError:
    return errors.UnavailableError("the engine is closed", reason="ENGINE_CLOSED")
