"""Memory: what is evicted, who waits, who goes first. Real threads, fake models."""

import itertools
import time
from collections.abc import Callable

import pytest
from fake_models import PATIENCE, Borrower, House, until

from engines.base import Cancel
from errors import CancelledError, UnavailableError


def house(
    wait_seconds: float = PATIENCE,
    real_clock: Callable[[], float] | None = None,
    **sizes: int,
) -> House:
    """Models of the given sizes under a budget of 3 GB."""
    made = House({"cpu": 3, "cuda:0": 3}, wait_seconds, real_clock)
    for name, size in sizes.items():
        made.add(name, size)
    return made


def test_the_least_recently_used_model_leaves_before_the_load():
    home = house(a=1, b=1, c=1, d=1)
    home.touch("a", "b", "c", "a", "d")
    assert home.journal == ["load a", "load b", "load c", "close b", "load d"]


def test_no_more_leave_than_necessary():
    home = house(a=1, b=1, c=1, d=2)
    home.touch("a", "b", "c", "d")
    assert [home.state(name) for name in "abcd"] == ["absent", "absent", "ready", "ready"]


def test_a_model_in_use_stays_though_it_is_the_oldest():
    home = house(a=1, b=1, c=1, d=1)
    user = Borrower(home, "a").holding()
    home.touch("b", "c", "d")
    assert not user.models[0].closed
    assert home.state("b") == "absent"
    user.leave()


def test_nothing_leaves_for_a_request_that_must_wait_all_the_same():
    home = house(a=1, b=1, big=3)
    home.touch("b")
    user = Borrower(home, "a").holding()
    waiter = Borrower(home, "big").queued()
    assert home.state("b") == "ready"
    user.leave()
    waiter.holding().leave()
    assert home.journal[-1] == "load big"


def test_a_request_waits_for_room_and_then_goes_on():
    home = house(a=2, b=2)
    user = Borrower(home, "a").holding()
    waiter = Borrower(home, "b").queued()
    assert home.kinds["b"].loads == 0
    user.leave()
    waiter.holding().leave()
    assert home.journal == ["load a", "close a", "load b"]


def test_the_wait_for_room_ends_and_names_what_is_in_the_way():
    home = house(wait_seconds=0.01, real_clock=time.monotonic, a=2, b=2)
    user = Borrower(home, "a").holding()
    with (
        pytest.raises(UnavailableError, match=r"B: 2\.0 GB .* 3\.0 GB .* A \(2\.0 GB, 1 request\)"),
        home.holder.use("b", cancel=Cancel()),
    ):
        pass
    assert home.waiting() == 0
    user.leave()


def test_making_room_takes_as_long_as_it_takes():
    home = house(a=2, b=2)
    home.kinds["a"].may_close.clear()
    user = Borrower(home, "a").holding()
    waiter = Borrower(home, "b").queued()
    user.leave()
    home.run_out_of_patience()
    assert home.waiting() == 1
    home.kinds["a"].may_close.set()
    waiter.holding().leave()


def test_what_happens_elsewhere_does_not_prolong_the_wait():
    home = house(a=2, b=2)
    home.add("g", 1, "cuda:0")
    user = Borrower(home, "a").holding()
    waiter = Borrower(home, "b").queued()
    home.clock.now += PATIENCE - 1
    home.touch("g")
    home.holder._wake()
    assert isinstance(waiter.failed(), UnavailableError)
    user.leave()


def test_the_wait_begins_when_one_is_first_in_line():
    home = house(a=1, b=3, c=3)
    outer = Borrower(home, "a").holding()
    waiter = Borrower(home, "b").queued(1)
    home.clock.now += PATIENCE / 2
    inner = Borrower(home, "c", cancel=outer.cancel).queued(2)  # Goes to the front.
    home.clock.now += PATIENCE / 2
    home.holder._wake()
    assert isinstance(inner.stop(), CancelledError)
    assert waiter.error is None
    outer.leave()
    waiter.holding().leave()


def test_what_a_request_has_does_not_leave_for_what_it_lacks():
    home = house(a=1, b=1, big=2)
    home.touch("a", "b")
    with home.holder.use("a", "big", cancel=Cancel()):
        assert home.state("b") == "absent"
    assert home.kinds["a"].loads == 1


def test_who_gave_up_waiting_lets_the_next_one_through():
    home = house(a=1, big=3)
    user = Borrower(home, "a").holding()
    too_much = Borrower(home, "big").queued(1)
    behind = Borrower(home, "a").queued(2)
    home.run_out_of_patience()
    assert isinstance(too_much.failed(), UnavailableError)
    behind.holding().leave()
    user.leave()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("huge",), r"HUGE: 4\.0 GB are needed on cpu, .* no more than 3\.0 GB"),
        (("a", "b"), r"A and B: 4\.0 GB"),
        (("nowhere",), r"needed on tpu:0"),
    ],
)
def test_what_can_never_fit_fails_at_once(names, words):
    home = house(a=2, b=2, huge=4)
    home.add("nowhere", 1, "tpu:0")
    with pytest.raises(UnavailableError, match=words), home.holder.use(*names, cancel=Cancel()):
        pass
    assert home.journal == []


def test_a_large_model_is_not_starved_by_small_ones():
    home = house(a=1, b=1, big=3)
    first = Borrower(home, "a").holding()
    large = Borrower(home, "big").queued(1)
    same = Borrower(home, "a").queued(2)  # Loaded, yet its use would prolong the wait.
    other = Borrower(home, "b").queued(3)  # There is room for it.
    first.leave()
    large.holding()
    assert not same.models
    assert not other.models
    large.leave()
    same.holding().leave()
    other.holding().leave()


def test_who_waits_for_one_device_holds_up_no_other():
    home = house(a=3, big=3)
    home.add("g", 3, "cuda:0")
    user = Borrower(home, "a").holding()
    waiter = Borrower(home, "big").queued()
    home.touch("g")
    user.leave()
    waiter.holding().leave()


def test_a_request_that_holds_models_does_not_wait_for_those_who_wait_for_it():
    home = house(a=1, b=1, big=3)
    outer = Borrower(home, "a").holding()
    waiter = Borrower(home, "big").queued()
    with home.holder.use("a", "b", cancel=outer.cancel) as (a, _):
        assert a is outer.models[0]
    assert not waiter.models
    outer.leave()
    waiter.holding().leave()


def test_overlapping_requests_do_not_block_each_other_half_way():
    home = house(a=1, b=2, c=1)
    first = Borrower(home, "a", "b").holding()
    second = Borrower(home, "b", "c").queued()
    assert home.state("c") == "absent"  # All or nothing.
    first.leave()
    second.holding().leave()


def test_cancel_while_waiting_for_memory():
    home = house(a=2, big=3)
    user = Borrower(home, "a").holding()
    waiter = Borrower(home, "big").queued()
    assert isinstance(waiter.stop(), CancelledError)
    home.touch("a")  # Nobody waits any more, so nobody is held up.
    user.leave()
    assert home.state("a") == "ready"


def test_a_model_on_its_way_out_is_not_handed_out():
    home = house(a=2, b=2)
    home.kinds["a"].may_close.clear()
    old = Borrower(home, "a").holding()
    old.leave()
    usurper = Borrower(home, "b")
    until(lambda: home.state("a") == "unloading")
    comeback = Borrower(home, "a").queued(2)
    home.kinds["a"].may_close.set()
    usurper.holding().leave()
    assert comeback.holding().models[0] is not old.models[0]
    assert not comeback.models[0].closed
    comeback.leave()


def test_a_waiter_hears_that_another_model_it_needs_cannot_be_loaded():
    home = house(a=2, b=2)
    broken = home.add("broken", 3, "cuda:0")
    broken.error = OSError("disk on fire")
    broken.may_load.clear()
    user = Borrower(home, "a").holding()
    loader = Borrower(home, "broken")
    until(lambda: broken.loads)
    waiter = Borrower(home, "b", "broken").queued()
    broken.may_load.set()
    assert "disk on fire" in str(loader.failed())
    assert "disk on fire" in str(waiter.failed())
    assert broken.loads == 1
    user.leave()


def test_a_finalizer_may_give_models_back_at_any_point():
    """The garbage collector ends generators on whatever thread, also on one inside the holder."""
    home = house(a=1, b=3)
    home.add("g", 1, "cuda:0")

    def forgotten():
        with home.holder.use("a", cancel=Cancel()):
            yield

    stream = forgotten()
    next(stream)
    home.kinds["g"].may_load.clear()  # Nothing else happens that would let the waiter in.
    waiter = Borrower(home, "b").queued()
    readings = itertools.count(1)

    def clock_that_collects() -> float:
        if next(readings) == 2:  # When b was refused, and it is g's turn.
            assert home.holder._queue._serving
            stream.close()
        return 0.0

    home.holder._queue._clock = clock_that_collects
    bystander = Borrower(home, "g")
    waiter.holding().leave()
    home.kinds["g"].may_load.set()
    bystander.holding().leave()
    assert [status.users for status in home.holder.status()] == [0, 0, 0]
