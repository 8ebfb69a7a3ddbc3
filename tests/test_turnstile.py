"""Who is let in, in which order, and what those who wait are told. Real threads."""

import gc
import random
import threading
import time

import pytest

from engines.base import Cancel
from errors import CancelledError, UnavailableError
from turnstile import Turnstile

PATIENCE = 10.0  # Seconds after which a wait in a test has failed.


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.0005)


class Visitor:
    """A request on a thread of its own, which stays inside until `leave`."""

    def __init__(self, gate: Turnstile, on_position=None) -> None:
        self.cancel = Cancel()
        self.inside = threading.Event()
        self.positions: list[int] = []
        self.error: BaseException | None = None
        self._gate = gate
        self._on_position = on_position or self.positions.append
        self._may_leave = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._gate.enter(self.cancel, self._on_position):
                self.inside.set()
                self._may_leave.wait(PATIENCE)
        except BaseException as error:  # noqa: BLE001  (the test looks at it)
            self.error = error

    def leave(self) -> None:
        self._may_leave.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def failed(self) -> BaseException:
        self._thread.join(PATIENCE)
        assert self.error is not None
        return self.error


def enter(gate: Turnstile) -> Visitor:
    """A visitor who is let in."""
    visitor = Visitor(gate)
    assert visitor.inside.wait(PATIENCE)
    return visitor


def line_up(gate: Turnstile, count: int) -> list[Visitor]:
    """Visitors who wait, in this order, each told its place."""
    visitors = []
    for place in range(count):
        visitors.append(Visitor(gate))
        until(lambda place=place: visitors[-1].positions == [place])
    return visitors


@pytest.mark.parametrize(("capacity", "max_waiting"), [(0, 1), (1, -1)])
def test_numbers_that_make_no_sense(capacity, max_waiting):
    with pytest.raises(ValueError, match="turnstile"):
        Turnstile(capacity, max_waiting)


def test_no_wait_while_there_is_room():
    gate = Turnstile(2, 0)
    first, second = enter(gate), enter(gate)
    assert (gate.active, gate.waiting) == (2, 0)
    assert first.positions == second.positions == []
    first.leave()
    assert gate.active == 1
    second.leave()
    assert gate.active == 0


def test_first_come_first_served_and_everybody_knows_their_place():
    gate = Turnstile(1, 3)
    inside = enter(gate)
    assert (gate.limit, gate.remaining) == (4, 3)
    line = line_up(gate, 3)
    assert (gate.active, gate.waiting) == (1, 3)
    assert (gate.limit, gate.remaining) == (4, 0)
    for visitor, told in zip(line, [[0], [1, 0], [2, 1, 0]], strict=True):
        assert not any(other.inside.is_set() for other in line[line.index(visitor) :])
        inside.leave()
        assert visitor.inside.wait(PATIENCE)
        for place, other in enumerate(line[line.index(visitor) + 1 :]):
            until(lambda other=other, place=place: other.positions[-1] == place)
        assert visitor.positions == told
        inside = visitor
    inside.leave()
    assert (gate.active, gate.waiting) == (0, 0)


def test_a_full_queue_is_refused():
    gate = Turnstile(1, 2)
    inside = enter(gate)
    line = line_up(gate, 2)
    refused = Visitor(gate).failed()
    assert isinstance(refused, UnavailableError)
    assert str(refused) == "The queue is full (2 waiting). Try again in a minute."
    assert (gate.active, gate.waiting) == (1, 2)
    for visitor in [inside, *line]:
        visitor.leave()
    enter(gate).leave()


def test_cancel_while_waiting():
    gate = Turnstile(1, 2)
    inside = enter(gate)
    first, second = line_up(gate, 2)
    first.cancel.set()
    assert isinstance(first.failed(), CancelledError)
    until(lambda: second.positions == [1, 0])
    assert gate.waiting == 1
    inside.leave()
    assert second.inside.wait(PATIENCE)
    second.leave()


def test_cancelled_before_it_began():
    gate = Turnstile(1, 0)
    cancel = Cancel()
    cancel.set()
    with pytest.raises(CancelledError), gate.enter(cancel):
        pass
    assert (gate.active, gate.waiting) == (0, 0)


def test_cancelled_while_it_is_let_in_the_place_goes_to_the_next():
    gate = Turnstile(1, 2)
    inside = enter(gate)
    told, go_on = threading.Event(), threading.Event()

    def dawdle(_position: int) -> None:
        told.set()
        go_on.wait(PATIENCE)

    slow = Visitor(gate, dawdle)
    assert told.wait(PATIENCE)
    inside.leave()  # It is let in now, but does not know yet.
    assert gate.active == 1
    slow.cancel.set()
    go_on.set()
    assert isinstance(slow.failed(), CancelledError)
    assert gate.active == 0


def test_a_place_is_free_again_after_an_error():
    gate = Turnstile(1, 0)
    with pytest.raises(RuntimeError), gate.enter(Cancel()):
        raise RuntimeError("the request failed")
    assert gate.active == 0


def test_a_failing_callback_gives_the_place_in_the_queue_up():
    gate = Turnstile(1, 1)
    inside = enter(gate)

    def fail(_position: int) -> None:
        raise RuntimeError("the page is gone")

    assert isinstance(Visitor(gate, fail).failed(), RuntimeError)
    assert gate.waiting == 0
    inside.leave()
    assert gate.active == 0


def test_waiting_leaves_nothing_behind_on_a_cancel():
    gate = Turnstile(1, 1)
    inside = enter(gate)
    (waiter,) = line_up(gate, 1)
    assert waiter.cancel._callbacks
    inside.leave()
    assert waiter.inside.wait(PATIENCE)
    assert waiter.cancel._callbacks == []
    waiter.leave()


def test_a_finalizer_may_leave_on_a_thread_that_is_inside():
    gate = Turnstile(1, 0)

    def forgotten():
        with gate.enter(Cancel()):
            yield

    stream = forgotten()
    next(stream)
    with gate._changed:
        del stream
        gc.collect()
    assert gate.active == 0


def test_stress():
    """Many requests, some cancelled: never too many inside, nobody forgotten."""
    gate = Turnstile(3, 100)
    lock = threading.Lock()
    inside = 0
    most = 0
    entered = 0
    cancelled = 0

    def worker(seed: int) -> None:
        nonlocal inside, most, entered, cancelled
        chance = random.Random(seed)
        for _ in range(100):
            cancel = Cancel()
            if chance.random() < 0.2:
                threading.Timer(chance.random() / 500, cancel.set).start()
            try:
                with gate.enter(cancel):
                    with lock:
                        inside += 1
                        entered += 1
                        most = max(most, inside)
                    if chance.random() < 0.2:
                        time.sleep(0.0005)
                    with lock:
                        inside -= 1
            except CancelledError:
                with lock:
                    cancelled += 1

    workers = [threading.Thread(target=worker, args=(seed,), daemon=True) for seed in range(12)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(60.0)
        assert not thread.is_alive(), "a request hangs"
    assert most == 3
    assert entered + cancelled == 1200
    assert cancelled
    assert (gate.active, gate.waiting) == (0, 0)
