"""Requests share weights step by step: in turn, exact, stopped at once, freed at once."""

import gc
import threading
import time
import weakref
from contextlib import suppress

import pytest
import torch

from engines.base import Cancel
from engines.native.steps import Steps
from errors import CancelledError, UnavailableError

PATIENCE = 30


@pytest.fixture
def steps():
    made = Steps("test", capacity=4)
    yield made
    made.close()


class State:
    """What a request holds; weakly referable."""


def counting(n, log=None, name="", gate=None, state=None):
    held = state
    for i in range(n):
        if gate is not None:
            assert gate.wait(PATIENCE)
        if log is not None:
            log.append(name)
        yield i
    del held


def collect(results, into):
    into.extend(results)


def test_results_come_in_order(steps):
    assert list(steps.run(counting(50), cancel=Cancel())) == list(range(50))
    assert steps.active == 0


def test_nothing_runs_before_the_first_result_is_asked_for(steps):
    log = []
    results = steps.run(counting(3, log), cancel=Cancel())
    time.sleep(0.05)
    assert log == []
    assert next(results) == 0
    results.close()


def test_requests_take_turns(steps):
    log, gate = [], threading.Event()
    outs = [[], [], []]
    threads = [
        threading.Thread(
            target=collect,
            args=(steps.run(counting(10, log, name, gate), cancel=Cancel(), ahead=99), out),
        )
        for name, out in zip("abc", outs, strict=True)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    while len(steps._round) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert outs == [list(range(10))] * 3
    rounds = ["".join(sorted(log[i : i + 3])) for i in range(0, 30, 3)]
    assert rounds == ["abc"] * 10


def test_a_request_is_never_further_ahead_than_it_may(steps):
    log = []
    results = steps.run(counting(50, log), cancel=Cancel(), ahead=3)
    next(results)
    deadline = time.monotonic() + PATIENCE
    while len(log) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(log) == 4  # The one that was read, and three that wait.
    results.close()


def test_every_step_runs_on_one_thread_in_inference_mode(steps):
    def where():
        for _ in range(3):
            yield threading.current_thread().name, torch.is_inference_mode_enabled()

    assert set(steps.run(where(), cancel=Cancel())) == {("test", True)}
    assert steps.call(torch.is_inference_mode_enabled, cancel=Cancel())
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_stopping_frees_the_state_within_the_step_that_runs(steps, how):
    cancel, log, began, gate = Cancel(), [], threading.Event(), threading.Event()

    def slow(state):
        for i in range(100):
            log.append(i)
            if i == 2:
                began.set()
                assert gate.wait(PATIENCE)
            yield i
        del state

    state = State()
    alive = weakref.ref(state)
    results = steps.run(slow(state), cancel=cancel)
    del state
    assert [next(results), next(results)] == [0, 1]
    assert began.wait(PATIENCE)
    threading.Timer(0.05, gate.set).start()
    if how == "cancel":
        cancel.set()
        with pytest.raises(CancelledError):
            list(results)
    else:
        results.close()
    assert log == [0, 1, 2]
    assert alive() is None
    assert steps.active == 0


class Closable:
    """An iterator that tells when, and on which thread, it is closed."""

    def __init__(self, log):
        self.log = log
        self.thread = ""

    def __iter__(self):
        return self

    def __next__(self):
        self.log.append("step")
        return 0

    def close(self):
        self.log.append("closed")
        self.thread = threading.current_thread().name


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_nobody_reads_is_freed_by_a_cancel(steps):
    cancel, log = Cancel(), []
    results = steps.run(Closable(log), cancel=cancel, ahead=2)
    assert next(results) == 0
    until(lambda: log == ["step"] * 3)  # As far ahead as it may be: now the thread has no work.
    time.sleep(0.05)
    cancel.set()
    until(lambda: log[-1] == "closed")
    with pytest.raises(CancelledError):
        list(results)


def test_iterators_are_closed_on_the_thread_of_their_steps(steps):
    closable = Closable([])
    results = steps.run(closable, cancel=Cancel())
    next(results)
    results.close()
    assert closable.thread == "test"


def test_the_stopped_are_let_go_of_before_others_go_on(steps):
    gate, log, cancel = threading.Event(), [], Cancel()
    requests = (
        (counting(1, gate=gate), Cancel()),
        (counting(2, log, "other"), Cancel()),
        (Closable(log), cancel),
    )
    threads = []
    for count, (iterator, flag) in enumerate(requests, 1):

        def read(iterator=iterator, flag=flag):
            with suppress(CancelledError):
                list(steps.run(iterator, cancel=flag))

        threads.append(threading.Thread(target=read))
        threads[-1].start()
        until(lambda count=count: len(steps._round) == count)
    cancel.set()
    gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert log == ["closed", "other", "other"]


def test_a_finished_request_holds_nothing_even_while_it_is_not_read(steps):
    state = State()
    alive = weakref.ref(state)
    results = steps.run(counting(5, state=state), cancel=Cancel(), ahead=9)
    del state
    next(results)
    deadline = time.monotonic() + PATIENCE
    while alive() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert alive() is None
    assert list(results) == [1, 2, 3, 4]


def test_a_forgotten_request_is_let_go_of(steps):
    results = steps.run(counting(10**9), cancel=Cancel())
    next(results)
    del results
    gc.collect()
    assert steps.active == 0
    assert steps.call(lambda: 7, cancel=Cancel()) == 7


def test_an_error_reaches_its_own_caller_only(steps):
    def failing():
        yield 1
        raise ValueError("broken")

    other = steps.run(counting(20), cancel=Cancel())
    next(other)
    results = steps.run(failing(), cancel=Cancel())
    assert next(results) == 1
    with pytest.raises(ValueError, match="broken"):
        next(results)
    assert list(other) == list(range(1, 20))


def test_those_who_wait_are_told_their_position():
    steps = Steps("small", capacity=1)
    first = steps.run(counting(1000), cancel=Cancel())
    next(first)
    positions, out = [[], []], [[], []]
    cancels = [Cancel(), Cancel()]
    threads = []
    for i in range(2):
        results = steps.run(counting(3), cancel=cancels[i], on_position=positions[i].append)
        threads.append(threading.Thread(target=collect, args=(results, out[i])))
        threads[-1].start()
        deadline = time.monotonic() + PATIENCE
        while steps.waiting <= i and time.monotonic() < deadline:
            time.sleep(0.01)
    first.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert out == [[0, 1, 2]] * 2
    # The one that holds the only place comes before both.
    assert positions[0] == [1]
    assert positions[1][:1] == [2]
    steps.close()


def test_a_call_takes_its_turn_between_the_steps_of_others(steps):
    log = []
    results = steps.run(counting(30, log), cancel=Cancel(), ahead=99)
    next(results)
    assert steps.call(lambda: "spoken", cancel=Cancel()) == "spoken"
    assert list(results) == list(range(1, 30))
    stopped = Cancel()
    stopped.set()
    with pytest.raises(CancelledError):
        steps.call(lambda: log.append("never"), cancel=stopped)
    assert "never" not in log


def test_a_step_that_would_wait_for_its_own_thread_is_refused(steps):
    def nested():
        yield steps.call(lambda: 1, cancel=Cancel())

    with pytest.raises(RuntimeError, match="within a step"):
        list(steps.run(nested(), cancel=Cancel()))


def test_a_cancel_after_the_last_step_does_not_pass_for_a_shorter_reply(steps):
    cancel, state = Cancel(), State()
    alive = weakref.ref(state)
    results = steps.run(counting(5, state=state), cancel=cancel, ahead=9)
    del state
    assert next(results) == 0
    until(lambda: alive() is None)  # All of it is computed.
    cancel.set()
    with pytest.raises(CancelledError):
        list(results)


def test_one_that_was_closed_before_its_first_request_refuses_it(steps):
    log = []
    steps.close()
    with pytest.raises(UnavailableError, match="unloaded"):
        list(steps.run(counting(1, log), cancel=Cancel()))
    with pytest.raises(UnavailableError, match="unloaded"):
        steps.call(lambda: log.append("called"), cancel=Cancel())
    assert log == []


def test_closing_stops_everybody_and_refuses_others(steps):
    results = steps.run(counting(10**9), cancel=Cancel())
    next(results)
    steps.close()
    with pytest.raises(UnavailableError, match="unloaded"):
        list(results)
    with pytest.raises(UnavailableError, match="unloaded"):
        list(steps.run(counting(1), cancel=Cancel()))
    assert not any(thread.name == "test" for thread in threading.enumerate())
