"""Which models are loaded, on which device, who uses them, and when they leave.

Engines borrow models by name and know nothing of memory. What they can borrow
is described in `model_spec`; who gets memory and when is decided in `model_queue`;
here are the threads and the waiting.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from devices import Gpu
from engines.base import Cancel
from errors import CancelledError, ParleyError, UnavailableError
from model_queue import NEVER, Failure, ModelQueue, Request, Slot
from model_spec import LoadReport, ModelSpec, ModelStatus, Progress, State

__all__ = [
    "LoadReport",
    "ModelHolder",
    "ModelSpec",
    "ModelStatus",
    "Progress",
    "State",
    "default_budgets",
]

logger = logging.getLogger(__name__)

#: Part of the free memory that models may take; the rest is for requests and the page.
MEMORY_SHARE = 0.8

#: Seconds between two looks at idle models; they overstay by no more than that.
SWEEP_PERIOD = 15.0

#: Where Linux tells the memory limit of a container: cgroups version 2 and version 1.
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class ModelHolder:
    """Holds the loaded models within a budget of memory per device.

    Any method may be called from any thread. The lock is never held while a
    model loads or closes.

    Args:
        budgets: Bytes that models may take, by device (`default_budgets`).
        idle_seconds: Unused models leave after this time; None keeps them.
        retry_after: Seconds for which a failed load is not tried again.
        wait_seconds: Longest wait for memory that other requests use, once a request is
            first in line. Nobody else gets in on that device meanwhile.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        budgets: Mapping[str, int],
        idle_seconds: float | None,
        retry_after: float,
        *,
        wait_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle_seconds = idle_seconds
        self._wait_seconds = wait_seconds
        self._clock = clock
        # Reentrant: the garbage collector may close a forgotten generator, and so give
        # its models back, on a thread that is just in here.
        self._changed = threading.Condition(threading.RLock())
        self._queue = ModelQueue(
            budgets,
            retry_after,
            clock,
            load=lambda slot: _spawn(f"load {slot.spec.name}", self._load, slot),
            unload=lambda slot: _spawn(f"unload {slot.spec.name}", self._unload, slot),
        )
        self._slots = self._queue.slots
        self._sweeper: threading.Thread | None = None
        self._stop_sweeping = threading.Event()

    def register(self, spec: ModelSpec) -> None:
        """Make a model known; nothing is loaded yet.

        Raises:
            ValueError: If the name is taken.
        """
        with self._changed:
            if spec.name in self._slots:
                raise ValueError(f"a model named {spec.name!r} is registered already")
            self._slots[spec.name] = Slot(spec)

    @contextmanager
    def use(self, *names: str, cancel: Cancel) -> Iterator[tuple[Any, ...]]:
        """Borrow loaded models; they stay loaded until the context is left.

        Take all that a request needs in one call. A further call with the same
        `cancel` goes to the front of the queue, lest it wait for those who wait for
        its models; but two requests that hold models and ask for more can still
        block each other, until their wait for memory runs out.

        Raises:
            UnavailableError: If a load fails or there is no room; says which and why.
            CancelledError: If `cancel` was set while waiting.
            KeyError: If a name is not registered.
        """
        request = Request(tuple(self._slots[name] for name in dict.fromkeys(names)), cancel)
        try:
            self._borrow(request)
            yield tuple(self._slots[name].model for name in names)
        finally:
            self._give_back(request)

    def warm(self, names: Iterable[str]) -> None:
        """Load models one after the other in the background; failures are logged.

        Raises:
            KeyError: If a name is not registered.
        """
        specs = [self._slots[name].spec for name in names]
        _spawn("warm-up", self._warm, specs)

    def unload(self, *names: str) -> None:
        """Unload models now, all or none; returns when they are gone.

        Raises:
            UnavailableError: If a request holds one or waits for it; all stay then.
            KeyError: If a name is not registered.
        """
        slots = [self._slots[name] for name in names]
        with self._changed:
            # A load that was called off, or a model on its way out, is gone in a moment.
            self._changed.wait_for(
                lambda: (
                    any(slot.users for slot in slots)
                    or all(slot.idle or not slot.resident for slot in slots)
                )
            )
            if used := next((slot for slot in slots if slot.users), None):
                raise UnavailableError(f"{used} is in use. Try again when it is free.")
            leaving = [slot for slot in slots if slot.idle]
            for slot in leaving:
                slot.state = "unloading"
        for slot in leaving:
            self._unload(slot)

    def retry(self, name: str) -> None:
        """Forget that a load failed, so that the next `use` tries again.

        Raises:
            KeyError: If the name is not registered.
        """
        slot = self._slots[name]
        with self._changed:
            if slot.failure:
                slot.state = "absent"

    def sweep(self) -> tuple[str, ...]:
        """Unload what has been idle for `idle_seconds`; returns the names."""
        if self._idle_seconds is None:
            return ()
        with self._changed:
            limit = self._clock() - self._idle_seconds
            idle = [slot for slot in self._slots.values() if slot.idle]
            leaving = [slot for slot in idle if slot.last_used <= limit]
            for slot in leaving:
                slot.state = "unloading"
        for slot in leaving:
            self._unload(slot)
        return tuple(slot.spec.name for slot in leaving)

    def start(self) -> None:
        """Sweep from time to time, on a thread that ends with `close`."""
        if self._sweeper is None and self._idle_seconds is not None:
            self._sweeper = _spawn("sweeper", self._keep_sweeping)

    def close(self, timeout: float = 10.0) -> None:
        """Refuse new requests, stop loads, unload every model as soon as it is free.

        Args:
            timeout: Longest wait for that, seconds. What is in use then is left
                alone until it is given back.
        """
        self._stop_sweeping.set()
        with self._changed:
            # Those who wait for loads give up now, which calls the loads off.
            self._queue.closed = True
            self._serve()
            self._changed.wait_for(lambda: not self._queue.residents(), timeout)
            for slot in self._queue.residents():
                logger.warning("%s is still %s at shutdown", slot, slot.state)

    def free_memory(self, device: str) -> int:
        """Bytes of the budget of `device` that no model takes; idle ones do take theirs."""
        with self._changed:
            return self._queue.free_memory(device)

    def status(self) -> tuple[ModelStatus, ...]:
        """What is known of every model, in order of registration; never waits for a load."""
        with self._changed:
            now = self._clock()
            return tuple(_status(slot, now) for slot in self._slots.values())

    def _borrow(self, request: Request) -> None:
        forget = request.cancel.on_set(self._wake)
        try:
            with self._changed:
                self._check_wanted(request)
                self._queue.enter(request)
                self._wait_for_room(request)
                self._wait_for_loads(request)
        finally:
            forget()

    def _wait_for_room(self, request: Request) -> None:
        while not request.admitted:
            self._check_wanted(request)
            if request.refusal:
                raise request.refusal.error()
            left = None
            if request.stuck_since is not None:
                left = request.stuck_since + self._wait_seconds - self._clock()
                if left <= 0:
                    raise UnavailableError(self._queue.explain(request))
            self._changed.wait(left)

    def _wait_for_loads(self, request: Request) -> None:
        while not all(load.done and not load.failure for load in request.loads):
            self._check_wanted(request)
            for load in request.loads:
                if load.failure:
                    raise load.failure.error()
            self._changed.wait()

    def _check_wanted(self, request: Request) -> None:
        request.cancel.check()
        if self._queue.closed:
            raise UnavailableError("Parley is shutting down.")

    def _give_back(self, request: Request) -> None:
        with self._changed:
            unwanted = self._queue.leave(request)
            self._changed.notify_all()
        # Without the lock, as this runs callbacks of the loader. Should somebody ask for
        # the model in this very moment, the load is made again (see `_settle`).
        for report in unwanted:
            report.cancel.set()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _serve(self) -> None:
        self._queue.serve()
        self._changed.notify_all()

    def _load(self, slot: Slot) -> None:
        load = slot.load
        while not load.done:
            model, failure = self._attempt(slot.spec, load.report)
            with self._changed:
                self._settle(slot, model, failure)

    def _attempt(self, spec: ModelSpec, report: LoadReport) -> tuple[Any, Failure | None]:
        try:
            return spec.load(report), None
        except CancelledError as error:
            return None, self._failure(f"Loading {spec.title} was stopped. Try again.", error)
        except ParleyError as error:
            logger.warning("%s could not be loaded: %s", spec.title, error)
            return None, self._failure(str(error), error)
        except BaseException as error:  # Whatever it is, those who wait must hear of it.
            logger.exception("%s could not be loaded", spec.title)
            reason = f"{type(error).__name__}: {error}"
            return None, self._failure(f"{spec.title} could not be loaded: {reason}", error)

    def _failure(self, message: str, cause: BaseException) -> Failure:
        _drop_frames(cause)
        return Failure(message, cause, self._clock())

    def _settle(self, slot: Slot, model: Any, failure: Failure | None) -> None:
        """Note how an attempt ended; the load stays undone if another one is due."""
        load = slot.load
        called_off = load.report.cancel.is_set()
        if failure and called_off and slot.users and not self._queue.closed:
            load.report = LoadReport()  # Somebody asked for it after it was called off.
            return
        if failure is None:
            slot.state, slot.model = "ready", model
        elif called_off or isinstance(failure.cause, CancelledError):
            slot.state = "absent"
        else:
            slot.state = "failed"
        load.failure, load.done = failure, True
        self._serve()

    def _unload(self, slot: Slot) -> None:
        """Close a model whose state is "unloading"; nobody else touches it."""
        _close(slot)
        with self._changed:
            slot.state = "absent"
            self._serve()

    def _warm(self, specs: list[ModelSpec]) -> None:
        for spec in specs:
            if self._queue.closed:
                return
            try:
                with self.use(spec.name, cancel=Cancel()):
                    logger.info("%s is ready", spec.title)
            except ParleyError as error:
                logger.warning("%s was not loaded ahead of time: %s", spec.title, error)

    def _keep_sweeping(self) -> None:
        while not self._stop_sweeping.wait(SWEEP_PERIOD):
            self.sweep()


def default_budgets(
    devices: Mapping[str, int] | None = None, gpus: Iterable[Gpu] = ()
) -> dict[str, int]:
    """Memory that models may take, in bytes by device.

    Args:
        devices: Budgets that were set by hand: they win.
        gpus: The GPUs that models may use (`devices.gpus`).

    Returns:
        A share of the memory that is free now for "cpu" and for each GPU.
    """
    free = psutil.virtual_memory().available
    own = psutil.Process().memory_info().rss
    free = min([free, *(limit - own for limit in _container_limits())])
    shares = {gpu.device: gpu.budget for gpu in gpus}
    return {"cpu": max(0, int(MEMORY_SHARE * free)), **shares, **(devices or {})}


def _container_limits() -> Iterator[int]:
    """The memory that this container may take, bytes; psutil tells of the whole machine."""
    for path in CONTAINER_LIMITS:
        try:
            yield int(path.read_text())
        except (OSError, ValueError):  # No such file, or it says "max".
            continue


def _status(slot: Slot, now: float) -> ModelStatus:
    return ModelStatus(
        name=slot.spec.name,
        title=slot.spec.title,
        device=slot.spec.device,
        memory=slot.spec.memory,
        state=slot.state,
        users=slot.users,
        progress=slot.load.report.progress if slot.state == "loading" else None,
        failure=slot.failure.message if slot.failure else None,
        note=slot.load.report.note if slot.state == "ready" else "",
        idle_seconds=None if slot.last_used == NEVER else now - slot.last_used,
    )


def _close(slot: Slot) -> None:
    model, slot.model = slot.model, None
    close = slot.spec.close or _close_if_closable
    try:
        close(model)
    except Exception:
        logger.exception("%s did not close cleanly", slot.spec.title)
    # Models sit in reference cycles; their memory has to be free before the next load.
    del model
    gc.collect()


def _close_if_closable(model: Any) -> None:
    close = getattr(model, "close", None)
    if close is not None:
        close()


def _drop_frames(error: BaseException | None) -> None:
    """Forget the traceback: its frames would keep a half-loaded model in memory."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _spawn(name: str, target: Callable[..., object], *args: Any) -> threading.Thread:
    # Daemons, so that a load that does not heed its flag cannot hold up the end of Parley.
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread
