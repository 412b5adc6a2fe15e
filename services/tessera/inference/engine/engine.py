"""The engine: a thread that steps as long as there is work, and an asyncio front.

    submit ──► scheduler ──► plan ──► runner ──► states ──► readers (on the caller's loop)
                   ▲                                │
                   └────────── what ended ◄─────────┘

A request is bound to the version that is active when it is submitted and ends on it; a version
that is no longer active is dropped when its last request has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Ordered
from typing import TypeVar

import structlog

from tessera import errors
from tessera.inference.engine.batch_handle import BatchHandle
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.input_processor import InputProcessor
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.memory import cache_bytes, check_fits
from tessera.inference.engine.model_runner import ModelRunner, StepOutput
from tessera.inference.engine.output_processor import OutputProcessor
from tessera.inference.engine.plan import Item, Plan
from tessera.inference.engine.request_state import RequestState
from tessera.inference.engine.scheduler import Scheduler
from tessera.inference.engine.sequence import Request, Work
from tessera.inference.engine.settings import EngineSettings, EngineStatus
from tessera.inference.engine.stream import OutputQueue, Recipient
from tessera.inference.engine.stream_handle import StreamHandle
from tessera.inference.engine.weighing import Weighing

log = structlog.get_logger()

R = TypeVar("R")


class Engine:
    """Serves one or, while it switches, several versions of a model.

    Args:
        model: the first version; it is active at once.
        settings: bounds.
        clock: seconds, for deadlines.

    Raises:
        FailedPreconditionError: its caches are larger than all memory (MEMORY_TOO_SMALL).
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: EngineSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_fits(
            cache_bytes(model.config, settings, model.tensor.dtype),
            model.tensor.device,
            "the cache of keys and values",
            "ask for fewer `blocks`, or a smaller `max_batch`",
        )
        blocks = settings.blocks_for(model.config.context)
        self._blocks = BlockManager(blocks, settings.block_size)
        cross_blocks = BlockManager(blocks, settings.block_size)
        self.bounds = Bounds(self._blocks, cross_blocks)
        self._scheduler = Scheduler(self._blocks, cross_blocks, settings.limits)
        self._input_processor = InputProcessor(self.bounds, self._scheduler.fork)
        self._model_runner = ModelRunner(blocks, settings.block_size, model.tensor.device)
        self._model_runner.load(model)
        self._clock = clock
        self._output_processor = OutputProcessor(OutputQueue(settings.coalesce_seconds, clock))
        self._active = model
        self._staged: LoadedModel | None = None
        self._cancelled: list[Item] = []
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
            self._remove(self._output_processor.fail_all(_closed()))

    def stage(self, model: LoadedModel) -> None:
        """Keep a version ready beside the active one."""
        with self._changed:
            self._staged = model
            self._model_runner.load(model)
            self._retire()

    def activate(self, model: LoadedModel) -> None:
        """Give a staged version to all requests from now on; those that began end on theirs."""
        with self._changed:
            self._active, self._staged = model, None
            self._retire()
            self._changed.notify_all()

    def submit(self, request: Request, model: LoadedModel, client: str = "") -> StreamHandle:
        """Let a request into the queue; call it on the loop that reads the answer.

        Args:
            request: what to write.
            model: that it was made for.
            client: who asks; clients take turns.

        Raises:
            AbortedError: `model` is not active any more; encode the prompt for the one that is.
            ResourceExhaustedError: the queue is full.
            UnavailableError: the engine is closed.
        """
        with self._changed:
            (number,) = self._output_processor.numbers(1)
            state = self._input_processor.stream(number, request, model, client)
            generation = StreamHandle(number, self.cancel)
            self._enter([state], generation, model)
            return generation

    def collect(
        self,
        works: Ordered[Work[R]],
        model: LoadedModel,
        deadline: float | None = None,
        client: str = "",
    ) -> BatchHandle[R]:
        """Let several items into the queue as one request; call it on the loop that reads them.

        Of a `Request` its hypotheses come back, the best first; of a `PoolingInput` what its head
        says. It raises what `submit` does.

        Args:
            works: the items.
            model: that they were made for.
            deadline: of the texts, on the engine's clock.
            client: who asks.
        """
        with self._changed:
            numbers = self._output_processor.numbers(len(works))
            states = [
                self._input_processor.part(
                    number, numbers[0], work, model, deadline=deadline, client=client
                )
                for number, work in zip(numbers, works, strict=True)
            ]
            collection = BatchHandle[R](tuple(numbers), model.version, self.cancel)
            self._enter(states, collection, model)
            return collection

    def cancel(self, recipient: Recipient) -> None:
        """Give a request up; its blocks are free before the next step."""
        with self._changed:
            self._cancelled.extend(self._output_processor.withdraw(recipient))

    def wait(self, timeout: float, *, versions: int | None = None) -> bool:
        """Wait until nothing runs or waits or, with `versions`, at most so many are in memory.

        Returns:
            False if that took longer than `timeout` seconds.
        """
        with self._changed:
            if versions is None:
                return self._changed.wait_for(lambda: self._scheduler.idle, timeout)
            return self._changed.wait_for(
                lambda: len(self._model_runner.versions) <= versions, timeout
            )

    def stalled(self, seconds: float) -> bool:
        """Whether there is work but no step has ended for so long."""
        with self._changed:
            return not self._scheduler.idle and self._clock() - self._progress > seconds

    def status(self) -> EngineStatus:
        """What it is doing now."""
        with self._changed:
            return EngineStatus(
                version=self._active.version,
                versions=tuple(sorted(self._model_runner.versions)),
                running=self._scheduler.running,
                waiting=self._scheduler.waiting,
                free_blocks=self._blocks.free,
                total_blocks=self._blocks.total,
                free_cross_blocks=self.bounds.cross_blocks.free,
                corrupted=self._output_processor.corruption.count(self._active.version),
                hopeless=self._output_processor.corruption.hopeless(self._active.version),
                message=self._output_processor.corruption.message(self._active.version)
                or self._message,
            )

    def _enter(self, states: list[RequestState], recipient: Recipient, model: LoadedModel) -> None:
        if self._closed:
            raise _closed()
        if model is not self._active:
            raise errors.AbortedError("the version was replaced", reason="VERSION_REPLACED")
        if self._scheduler.idle:
            self._progress = self._clock()
        leaving = self._scheduler.add([state.item for state in states])
        if leaving:
            full = self._scheduler.queue_full()
            self._remove(self._output_processor.fail(leaving, full))
        self._output_processor.enter(states, recipient)
        self._changed.notify_all()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._scheduler.idle)
                if self._closed:
                    return
                plan = self._plan()
            if not plan.items:
                continue
            begin = self._clock()
            try:
                done = self._model_runner.run(plan)
                self._finish_step(plan, done, self._clock() - begin)
            except Exception as error:
                log.exception("a step failed")
                self._break_off(plan, error)

    def _plan(self) -> Plan:
        self._drop_cancelled()
        plan = self._scheduler.schedule(self._clock())
        if plan.expired:
            late = errors.DeadlineExceededError("the answer took longer than the call's deadline")
            self._remove(self._output_processor.fail(plan.expired, late))
        self._settle()
        return plan

    def _finish_step(
        self, plan: Plan, done: Iterable[tuple[Item, StepOutput]], seconds: float
    ) -> None:
        left = {item.number: it.left for item, it in done if isinstance(it, Weighing)}
        with self._changed:
            self._progress = self._clock()
            self._drop_cancelled()
            self._scheduler.finish(plan, left, seconds)
            whole = [pair for pair in done if pair[0].number not in left]
            self._remove(self._output_processor.hand_out(whole), self._progress)
            self._settle()
        self._output_processor.flush()

    def _break_off(self, plan: Plan, error: Exception) -> None:
        """End the requests of a step that failed; the engine goes on with the others."""
        broken = errors.InternalError("the engine failed; its log has the details")
        with self._changed:
            self._message = f"a step failed: {type(error).__name__}: {error}"
            self._progress = self._clock()
            self._drop_cancelled()
            self._remove(self._output_processor.fail(plan.items, broken))
            self._settle()

    def _drop_cancelled(self) -> None:
        self._remove(self._cancelled)
        self._cancelled.clear()

    def _remove(self, items: Ordered[Item], now: float | None = None) -> None:
        if items:
            self._scheduler.remove(items, now)
            self._model_runner.forget(items)

    def _settle(self) -> None:
        """Drop what nobody needs and tell those who wait for it."""
        self._retire()
        if self._scheduler.idle:
            self._changed.notify_all()

    def _retire(self) -> None:
        needed = self._scheduler.versions() | {self._active.version}
        if self._staged is not None:
            needed.add(self._staged.version)
        if self._model_runner.retire(needed):
            self._output_processor.corruption.retain(self._model_runner.versions)
            self._changed.notify_all()


def _closed() -> errors.UnavailableError:
    return errors.UnavailableError("the engine is closed", reason="ENGINE_CLOSED")
