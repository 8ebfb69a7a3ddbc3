"""Memory: what is evicted, who waits, who goes first. Real threads, fake models."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from fake_models import PATIENCE, Borrower, House, until

import model_loader
from engines.base import Cancel
from errors import CancelledError, UnavailableError
from model_loader import LoadReport, ModelHolder, ModelSpec


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
    home = house(wait_seconds=0.0, a=2, b=2)
    home.kinds["a"].may_close.clear()
    home.touch("a")
    waiter = Borrower(home, "b").queued()
    home.kinds["a"].may_close.set()
    waiter.holding().leave()


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
    waiter = Borrower(home, "b").queued()
    readings = itertools.count(1)

    def clock_that_collects() -> float:
        if next(readings) == 2:  # When b was refused, and it is g's turn.
            assert home.holder._queue._serving
            stream.close()
        return 0.0

    home.holder._queue._clock = clock_that_collects
    bystander = Borrower(home, "g").holding()
    waiter.holding()
    bystander.leave()
    waiter.leave()
    assert [status.users for status in home.holder.status()] == [0, 0, 0]


class Memory:
    """Notes what is really taken, and every broken promise."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.lock = threading.Lock()
        self.taken = 0
        self.broken: list[str] = []

    def take(self, size: int) -> None:
        with self.lock:
            self.taken += size
            if self.taken > self.budget:
                self.broken.append(f"{self.taken} of {self.budget} taken")


class Tracked:
    def __init__(self, memory: Memory, size: int) -> None:
        self.memory, self.size = memory, size
        self.users = 0
        self.closed = False

    def __enter__(self) -> None:
        with self.memory.lock:
            self.users += 1
            if self.closed:
                self.memory.broken.append("handed out though closed")

    def __exit__(self, *_: object) -> None:
        with self.memory.lock:
            self.users -= 1

    def close(self) -> None:
        if self.users or self.closed:
            self.memory.broken.append("closed while in use, or twice")
        self.closed = True
        self.memory.take(-self.size)


def test_stress(monkeypatch):
    """Random requests, cancels, failures, unloads: nobody hangs, no promise is broken."""
    monkeypatch.setattr(model_loader.gc, "collect", lambda: 0)  # Slow, and no garbage here.
    monkeypatch.setattr(model_loader.logger, "disabled", True)
    sizes = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
    memory = Memory(budget=6)
    holder = ModelHolder({"cpu": 6}, idle_seconds=0.0, retry_after=0.0, wait_seconds=PATIENCE)
    counts: Counter[str] = Counter()

    def loader(size: int):
        def load(report: LoadReport) -> Tracked:
            memory.take(size)
            if random.random() < 0.02:
                memory.take(-size)
                raise OSError("bad luck")
            if random.random() < 0.2:
                time.sleep(0.0005)
            if report.cancel.is_set():
                memory.take(-size)
                report.cancel.check()
            return Tracked(memory, size)

        return load

    for name, size in sizes.items():
        holder.register(ModelSpec(name, name, "cpu", size, loader(size)))

    def one_request(chance: random.Random) -> None:
        cancel = Cancel()
        names = chance.sample(sorted(sizes), chance.randint(1, 3))
        names = names if sum(sizes[name] for name in names) <= memory.budget else names[:2]
        timer = threading.Timer(chance.random() / 500, cancel.set)
        if chance.random() < 0.1:
            timer.start()
        try:
            with holder.use(*names, cancel=cancel) as models:
                for model, name in zip(models, names, strict=True):
                    assert model.size == sizes[name]
                    with model:
                        counts["used"] += 1
        except CancelledError:
            counts["cancelled"] += 1
        except UnavailableError as error:
            counts["failed"] += 1
            if "bad luck" not in str(error) and "was stopped" not in str(error):
                memory.broken.append(str(error))

    def housekeeping(chance: random.Random) -> None:
        if chance.random() < 0.5:
            holder.sweep()
        else:
            try:
                holder.unload(chance.choice(sorted(sizes)))
            except UnavailableError:
                counts["unload refused"] += 1

    def worker(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(300):
                one_request(chance)
                if any(status.users < 0 for status in holder.status()):
                    memory.broken.append("fewer than no users")
                if chance.random() < 0.05:
                    housekeeping(chance)
        except BaseException as error:  # noqa: BLE001  (told below)
            memory.broken.append(repr(error))

    workers = [threading.Thread(target=worker, args=(seed,), daemon=True) for seed in range(8)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(60.0)
        assert not thread.is_alive(), "a request hangs"
    assert memory.broken == []
    assert counts["used"] > 2000
    assert counts["cancelled"]
    assert counts["failed"]
    assert [status.users for status in holder.status()] == [0] * 5
    assert not holder._queue._waiting
    assert not holder._queue._admitted
    holder.close()
    assert memory.taken == 0
