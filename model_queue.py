"""Who gets memory for models, and when: the decisions of the `ModelHolder`.

There are no threads and no waiting here; the holder calls everything under its
lock, and carries out what is decided (`load`, `unload`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engines.base import Cancel
from errors import UnavailableError
from model_spec import LoadReport, ModelSpec, State

GIGABYTE = 1_000_000_000
MEGABYTE = 1_000_000

#: Before any reading of a clock.
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Failure:
    """How a load failed, and when (time of the holder's clock)."""

    message: str
    cause: BaseException
    at: float

    def error(self) -> UnavailableError:
        """An exception to raise: a new one each time, as raising one changes it."""
        error = UnavailableError(self.message)
        error.__cause__ = self.cause
        return error


@dataclass(eq=False, slots=True)
class Load:
    """One load, shared by everybody who waits for it."""

    report: LoadReport = field(default_factory=LoadReport)
    done: bool = False
    failure: Failure | None = None


@dataclass(eq=False, slots=True)
class Slot:
    """Where a model sits.

    Attributes:
        spec: What is loaded here.
        state: See `ModelStatus`.
        users: Requests that hold the model or wait for its load.
        model: The model, if ready.
        load: The last load, or the one that runs.
        last_used: When a request last held it (time of the holder's clock).
    """

    spec: ModelSpec
    state: State = "absent"
    users: int = 0
    model: Any = None
    load: Load = field(default_factory=Load)
    last_used: float = NEVER

    @property
    def lendable(self) -> bool:
        """Whether it is loaded or about to be."""
        return self.state in ("loading", "ready")

    @property
    def resident(self) -> bool:
        """Whether it takes memory."""
        return self.lendable or self.state == "unloading"

    @property
    def idle(self) -> bool:
        """Whether it may be unloaded."""
        return self.state == "ready" and not self.users

    @property
    def failure(self) -> Failure | None:
        """How the last load failed, while that is remembered."""
        return self.load.failure if self.state == "failed" else None

    def __str__(self) -> str:
        users = "1 request" if self.users == 1 else f"{self.users} requests"
        return f"{self.spec.title} ({format_size(self.spec.memory)}, {users})"


@dataclass(eq=False, slots=True)
class Request:
    """Somebody who borrows models: first queued, then admitted or refused.

    Attributes:
        slots: What is borrowed, each once.
        cancel: The request's own; it also tells which calls belong together.
        admitted: All slots are counted as used by it, and loaded or loading.
        loads: What an admitted request still has to wait for.
        refusal: It needs a model whose load failed a short time ago.
        stuck_since: Since when it is first in line, but what would have to leave is
            in use (time of the holder's clock); None if it waits for anything else,
            which has an end of its own: those before it, or models on their way out.
    """

    slots: tuple[Slot, ...]
    cancel: Cancel
    admitted: bool = False
    loads: tuple[Load, ...] = ()
    refusal: Failure | None = None
    stuck_since: float | None = None

    def needs(self) -> dict[str, int]:
        """Bytes of the models that are yet to be loaded, by device."""
        return _by_device(slot for slot in self.slots if not slot.lendable)

    def __str__(self) -> str:
        return " and ".join(slot.spec.title for slot in self.slots)


class ModelQueue:
    """Admits requests in order, as far as the memory goes.

    A request is admitted for all its models or not at all. It never waits for
    memory after that, so requests cannot block one another half-way.

    Args:
        budgets: Bytes that models may take, by device.
        retry_after: Seconds for which a failed load is not tried again.
        clock: Monotonic time, seconds.
        load: Called to begin the load of a slot; must not block.
        unload: Called to begin to unload a slot; must not block.

    Attributes:
        slots: All models by name, in order of registration.
        closed: Nobody is admitted any more, and what is idle leaves.
    """

    def __init__(
        self,
        budgets: Mapping[str, int],
        retry_after: float,
        clock: Callable[[], float],
        load: Callable[[Slot], object],
        unload: Callable[[Slot], object],
    ) -> None:
        self.slots: dict[str, Slot] = {}
        self.closed = False
        self._budgets = dict(budgets)
        self._retry_after = retry_after
        self._clock = clock
        self._load = load
        self._unload = unload
        self._waiting: list[Request] = []
        self._admitted: list[Request] = []
        self._serving = False
        self._stale = False

    def residents(self, device: str | None = None) -> list[Slot]:
        """The models that take memory of `device`; of any device if None."""
        slots = (slot for slot in self.slots.values() if slot.resident)
        return [slot for slot in slots if device in (None, slot.spec.device)]

    def free_memory(self, device: str) -> int:
        """Bytes of the budget of `device` that no model takes; idle ones do take theirs."""
        taken = sum(slot.spec.memory for slot in self.residents(device))
        return self._budgets.get(device, 0) - taken

    def enter(self, request: Request) -> None:
        """Queue a request and admit it if there is room.

        Raises:
            UnavailableError: If it could not be admitted even with nothing else loaded.
        """
        for device, need in _by_device(request.slots).items():
            budget = self._budgets.get(device, 0)
            if need > budget:
                raise UnavailableError(
                    f"There is no room for {request}: {format_size(need)} are needed on {device}, "
                    f"but models may take no more than {format_size(budget)} there."
                )
        # Who holds models already goes first: those in front may be waiting for just these.
        holds_models = any(other.cancel is request.cancel for other in self._admitted)
        self._waiting.insert(0 if holds_models else len(self._waiting), request)
        self.serve()

    def leave(self, request: Request) -> list[LoadReport]:
        """Undo whatever a request has got to; returns the loads that nobody waits for now."""
        if request in self._waiting:
            self._waiting.remove(request)
        unwanted: list[LoadReport] = []
        if request.admitted:
            self._admitted.remove(request)
            for slot in request.slots:
                slot.users -= 1
                slot.last_used = self._clock()
                if slot.state == "loading" and not slot.users:
                    unwanted.append(slot.load.report)
        self.serve()
        return unwanted

    def serve(self) -> None:
        """Admit whom there is room for; to be called after every change."""
        self._stale = True
        if self._serving:
            return  # Called by a finalizer that interrupted the loop below, which goes on.
        self._serving = True
        try:
            while self._stale:
                self._stale = False
                self._serve_once()
        finally:
            self._serving = False

    def explain(self, request: Request) -> str:
        """What a stuck request lacks and what is in its way, in words for the user."""
        lacks = []
        for device, need in request.needs().items():
            others = [s for s in self.residents(device) if not s.idle and s not in request.slots]
            budget = self._budgets[device]
            if need > budget - sum(slot.spec.memory for slot in others):
                lacks.append(
                    f"{format_size(need)} are needed on {device}, models may take "
                    f"{format_size(budget)} there, and these are in use: "
                    f"{', '.join(map(str, others))}"
                )
        return f"There is no room for {request}: {'; '.join(lacks)}. Try again when they are free."

    def _serve_once(self) -> None:
        if self.closed:
            self._evict([slot for slot in self.slots.values() if slot.idle])
            return
        # On a device where somebody waits for room, nobody further back is admitted, not even
        # for a model that is loaded: a stream of such users could keep it there for ever.
        blocked: set[str] = set()
        for request in tuple(self._waiting):
            request.refusal = self._remembered_failure(request)
            if request.refusal or self._admit(request, blocked):
                self._waiting.remove(request)
            else:
                blocked.update(request.needs())

    def _remembered_failure(self, request: Request) -> Failure | None:
        forgotten = self._clock() - self._retry_after
        failures = (slot.failure for slot in request.slots)
        return next((f for f in failures if f and f.at > forgotten), None)

    def _admit(self, request: Request, blocked: set[str]) -> bool:
        if any(slot.spec.device in blocked for slot in request.slots):
            request.stuck_since = None
            return False
        victims = self._victims(request)
        if victims is None:
            if request.stuck_since is None:
                request.stuck_since = self._clock()
            return False
        request.stuck_since = None
        self._evict(victims)
        if any(slot.state == "unloading" for slot in request.slots):
            return False
        if any(need > self.free_memory(device) for device, need in request.needs().items()):
            return False
        self._lend(request)
        return True

    def _victims(self, request: Request) -> list[Slot] | None:
        """The idle models that must leave for `request`; None if that would not do."""
        victims: list[Slot] = []
        for device, need in request.needs().items():
            residents = self.residents(device)
            room = self.free_memory(device)
            room += sum(slot.spec.memory for slot in residents if slot.state == "unloading")
            idle = [slot for slot in residents if slot.idle and slot not in request.slots]
            for slot in sorted(idle, key=lambda slot: slot.last_used):
                if room >= need:
                    break
                victims.append(slot)
                room += slot.spec.memory
            if room < need:
                return None
        return victims

    def _lend(self, request: Request) -> None:
        for slot in request.slots:
            slot.users += 1
            slot.last_used = self._clock()
            if not slot.lendable:
                slot.state, slot.load = "loading", Load()
                self._load(slot)
        request.loads = tuple(slot.load for slot in request.slots if slot.state == "loading")
        request.admitted = True
        self._admitted.append(request)

    def _evict(self, slots: list[Slot]) -> None:
        for slot in slots:
            slot.state = "unloading"
            self._unload(slot)


def format_size(size: int) -> str:
    """Bytes for people: "1.2 GB", "44 MB"."""
    if size >= GIGABYTE:
        return f"{size / GIGABYTE:.1f} GB"
    return f"{size / MEGABYTE:.0f} MB"


def _by_device(slots: Iterable[Slot]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for slot in slots:
        sizes[slot.spec.device] = sizes.get(slot.spec.device, 0) + slot.spec.memory
    return sizes
