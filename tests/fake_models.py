"""Models that load and close when a test says so, and requests that hold them."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from engines.base import Cancel, Models
from model_loader import LoadReport, ModelHolder, ModelSpec

PATIENCE = 10.0  # Seconds after which a wait in a test has failed.


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.0005)


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeModel:
    """What the fake loaders make; knows the kind it belongs to."""

    def __init__(self, kind: "Kind") -> None:
        self.kind = kind
        self.closed = False

    def close(self) -> None:
        self.kind.may_close.wait(PATIENCE)
        self.closed = True
        self.kind.journal.append(f"close {self.kind.name}")


class Kind:
    """A registered fake model: counts its loads, which wait for `may_load`."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal
        self.loads = 0
        self.error: BaseException | None = None
        self.stubborn = False  # Does not heed its cancel flag.
        self.reports: list[LoadReport] = []
        self.may_load = threading.Event()
        self.may_close = threading.Event()
        self.may_load.set()
        self.may_close.set()

    def load(self, report: LoadReport) -> FakeModel:
        self.loads += 1
        self.reports.append(report)
        called_off = threading.Event()
        if not self.stubborn:
            report.cancel.on_set(called_off.set)
        until(lambda: self.may_load.is_set() or called_off.is_set())
        if called_off.is_set():
            report.cancel.check()
        if self.error:
            raise self.error
        self.journal.append(f"load {self.name}")
        return FakeModel(self)


class House:
    """A holder with fake models; budgets in units of 1 GB."""

    def __init__(
        self,
        budgets: dict[str, int],
        wait_seconds: float = PATIENCE,
        real_clock: Callable[[], float] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.journal: list[str] = []
        self.kinds: dict[str, Kind] = {}
        self.holder = ModelHolder(
            {device: size * 10**9 for device, size in budgets.items()},
            idle_seconds=60.0,
            retry_after=30.0,
            wait_seconds=wait_seconds,
            clock=real_clock or self.clock,
        )

    def add(self, name: str, size: int = 1, device: str = "cpu") -> Kind:
        kind = self.kinds[name] = Kind(name, self.journal)
        self.holder.register(ModelSpec(name, name.upper(), device, size * 10**9, kind.load))
        return kind

    def touch(self, *names: str) -> None:
        """Borrow each model and give it back, a second apart."""
        for name in names:
            self.clock.now += 1
            with self.holder.use(name, cancel=Cancel()):
                pass

    def run_out_of_patience(self) -> None:
        """Let the longest wait for memory pass."""
        self.clock.now += PATIENCE
        self.holder._wake()

    def demolish(self) -> None:
        """Let everything that is held up go on, and close the holder."""
        for kind in self.kinds.values():
            kind.may_load.set()
            kind.may_close.set()
        self.holder.close()

    def state(self, name: str) -> str:
        return self.status(name).state

    def status(self, name: str):
        return next(status for status in self.holder.status() if status.name == name)

    def waiting(self) -> int:
        """How many requests wait for memory."""
        return len(self.holder._queue._waiting)


class Borrower:
    """A request on a thread of its own, which holds its models until `leave`."""

    def __init__(self, house: House, *names: str, cancel: Cancel | None = None) -> None:
        self.cancel = cancel or Cancel()
        self.models: tuple[FakeModel, ...] = ()
        self.error: BaseException | None = None
        self._house = house
        self._names = names
        self._may_leave = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._house.holder.use(*self._names, cancel=self.cancel) as models:
                self.models = models
                self._may_leave.wait(PATIENCE)
        except BaseException as error:  # noqa: BLE001  (the test looks at it)
            self.error = error

    def holding(self) -> "Borrower":
        """Wait until it has its models."""
        until(lambda: self.models or self.error)
        assert self.error is None, self.error
        return self

    def queued(self, count: int = 1) -> "Borrower":
        """Wait until it is one of `count` requests that wait for memory."""
        until(lambda: self._house.waiting() == count)
        return self

    def leave(self) -> None:
        self._may_leave.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def failed(self) -> BaseException:
        """Wait for its exception."""
        self._thread.join(PATIENCE)
        assert self.error is not None
        return self.error

    def stop(self) -> BaseException:
        """Cancel it; its exception."""
        self.cancel.set()
        with suppress(AssertionError):
            return self.failed()
        raise AssertionError("it took no notice of the cancel")


def borrow(home: House, *names: str):
    """Borrow and give back at once; the models."""
    models: Models = home.holder
    with models.use(*names, cancel=Cancel()) as borrowed:
        return borrowed


def loading(home: House, name: str) -> Borrower:
    """A request whose load cannot end before `may_load` is set."""
    home.kinds[name].may_load.clear()
    borrower = Borrower(home, name)
    until(lambda: home.kinds[name].reports)
    return borrower
