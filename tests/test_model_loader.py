"""Loads, idle time, status, shutdown. Real threads, fake models, a fake clock."""

import threading
from types import SimpleNamespace

import psutil
import pytest
from fake_models import PATIENCE, Borrower, House, borrow, loading, until

import model_loader
from devices import Gpu
from engines.base import Cancel
from errors import CancelledError, UnavailableError
from model_loader import ModelSpec, Progress, default_budgets


@pytest.fixture
def home():
    made = House({"cpu": 9, "cuda:0": 9})
    for name in "abc":
        made.add(name)
    yield made
    made.demolish()


def test_models_come_in_the_order_asked_for(home):
    first, second, third = borrow(home, "b", "a", "b")
    assert (first.kind.name, second.kind.name) == ("b", "a")
    assert third is first
    assert borrow(home) == ()


def test_names_are_unique_and_known(home):
    with pytest.raises(ValueError, match="'a'"):
        home.add("a")
    with pytest.raises(KeyError):
        borrow(home, "a", "nobody")
    with pytest.raises(KeyError):
        home.holder.warm(["nobody"])
    assert home.journal == []


def test_one_load_for_many_users_at_once(home):
    first = loading(home, "a")
    others = [Borrower(home, "a") for _ in range(19)]
    until(lambda: home.status("a").users == 20)
    home.kinds["a"].may_load.set()
    assert {id(user.holding().models[0]) for user in [first, *others]} == {id(first.models[0])}
    for user in [first, *others]:
        user.leave()
    assert home.kinds["a"].loads == 1
    assert home.status("a").users == 0


def test_different_models_load_at_the_same_time(home):
    users = [loading(home, name) for name in "ab"]
    for name, user in zip("ab", users, strict=True):
        home.kinds[name].may_load.set()
        user.holding().leave()


def test_cancelled_before_it_began(home):
    cancel = Cancel()
    cancel.set()
    with pytest.raises(CancelledError), home.holder.use("a", cancel=cancel):
        pass
    assert home.kinds["a"].loads == 0


def test_who_cancels_a_load_does_not_stop_it_for_the_others(home):
    first = loading(home, "a")
    second = Borrower(home, "a")
    until(lambda: home.status("a").users == 2)
    assert isinstance(first.stop(), CancelledError)
    assert not home.kinds["a"].reports[0].cancel.is_set()
    home.kinds["a"].may_load.set()
    second.holding().leave()
    assert home.kinds["a"].loads == 1


def test_a_load_is_called_off_once_nobody_waits_for_it(home):
    assert isinstance(loading(home, "a").stop(), CancelledError)
    until(lambda: home.state("a") == "absent")
    assert home.status("a").failure is None
    home.kinds["a"].may_load.set()
    borrow(home, "a")


def test_who_comes_after_a_load_was_called_off_gets_one_of_their_own(home):
    kind = home.kinds["a"]
    kind.stubborn = True
    kind.error = OSError("torn down")
    loading(home, "a").stop()
    late = Borrower(home, "a")
    until(lambda: home.status("a").users == 1)
    kind.may_load.set()
    until(lambda: kind.loads == 2)
    assert "torn down" in str(late.failed())  # The second load fails on its own account.
    assert [report.cancel.is_set() for report in kind.reports] == [True, False]


def test_a_load_that_ends_in_spite_of_a_cancel_is_kept(home):
    home.kinds["a"].stubborn = True
    loading(home, "a").stop()
    home.kinds["a"].may_load.set()
    until(lambda: home.state("a") == "ready")
    borrow(home, "a")
    assert home.kinds["a"].loads == 1


def test_waiting_leaves_nothing_behind_on_a_cancel(home):
    cancel = Cancel()
    for _ in range(3):
        with home.holder.use("a", cancel=cancel):
            assert cancel._callbacks == []


def test_idle_models_leave(home):
    home.touch("a")
    user = Borrower(home, "b").holding()
    home.clock.now += 59
    home.touch("c")
    assert home.holder.sweep() == ("a",)
    assert [home.state(name) for name in "abc"] == ["absent", "ready", "ready"]
    home.clock.now += 100
    user.leave()
    assert home.holder.sweep() == ("c",)  # b was in use until now.
    assert home.status("b").idle_seconds == 0


def test_idle_models_leave_by_themselves(home, monkeypatch):
    monkeypatch.setattr(model_loader, "SWEEP_PERIOD", 0.001)
    home.touch("a")
    home.clock.now += 60
    home.holder.start()
    until(lambda: home.journal == ["load a", "close a"])
    home.holder.close()
    home.holder._sweeper.join(PATIENCE)
    assert not home.holder._sweeper.is_alive()


def test_idle_models_stay_if_so_wished():
    holder = model_loader.ModelHolder({"cpu": 1}, idle_seconds=None, retry_after=1.0)
    holder.register(ModelSpec("a", "A", "cpu", 1, lambda report: "model"))
    with holder.use("a", cancel=Cancel()):
        pass
    holder.start()
    assert holder.sweep() == ()
    assert holder.status()[0].state == "ready"


def test_unload(home):
    user = Borrower(home, "a").holding()
    with pytest.raises(UnavailableError, match=r"A \(1\.0 GB, 1 request\) is in use"):
        home.holder.unload("a")
    assert not user.models[0].closed
    user.leave()
    home.holder.unload("a")
    assert user.models[0].closed
    assert home.state("a") == "absent"
    home.holder.unload("a")
    assert home.journal == ["load a", "close a"]


def test_unload_returns_only_when_the_model_is_gone(home):
    home.touch("a")
    home.kinds["a"].may_close.clear()
    both = [threading.Thread(target=home.holder.unload, args=("a",)) for _ in range(2)]
    both[0].start()
    until(lambda: home.state("a") == "unloading")
    both[1].start()
    both[1].join(0.02)
    assert both[1].is_alive()
    home.kinds["a"].may_close.set()
    for thread in both:
        thread.join(PATIENCE)
    assert home.journal == ["load a", "close a"]


def test_unload_is_refused_while_somebody_waits_for_the_load(home):
    user = loading(home, "a")
    with pytest.raises(UnavailableError, match="in use"):
        home.holder.unload("a")
    home.kinds["a"].may_load.set()
    user.holding().leave()


def test_a_model_may_be_closed_in_its_own_way(home):
    closed = []
    spec = ModelSpec("p", "P", "cpu", 1, lambda report: "plain", closed.append)
    home.holder.register(spec)
    home.holder.register(ModelSpec("q", "Q", "cpu", 1, lambda report: "has no close"))
    borrow(home, "p", "q")
    home.holder.unload("p")
    home.holder.unload("q")
    assert closed == ["plain"]


def test_a_model_that_fails_to_close_is_gone_all_the_same(home, caplog):
    def explode(_model):
        raise OSError("stuck")

    home.holder.register(ModelSpec("p", "P", "cpu", 10**9, lambda report: "plain", explode))
    borrow(home, "p")
    home.holder.unload("p")
    assert home.holder.free_memory("cpu") == 9 * 10**9
    assert "P did not close cleanly" in caplog.text


def test_status_tells_how_far_a_load_is(home):
    user = loading(home, "a")
    report = home.kinds["a"].reports[0]
    report.update("downloading", 0.25, bytes_done=7, seconds_left=3.0)
    report.note = "the small one"
    status = home.status("a")
    assert (status.title, status.device, status.memory) == ("A", "cpu", 10**9)
    assert (status.state, status.users) == ("loading", 1)
    assert (status.progress, status.note) == (Progress("downloading", 0.25, 7, 3.0), "")
    assert home.holder.free_memory("cpu") == 8 * 10**9  # Set aside from the start.
    assert home.status("b").idle_seconds is None
    home.kinds["a"].may_load.set()
    user.holding().leave()
    home.clock.now += 5
    status = home.status("a")
    assert (status.state, status.progress, status.idle_seconds) == ("ready", None, 5)
    assert status.note == "the small one"
    assert [status.name for status in home.holder.status()] == ["a", "b", "c"]


def test_warm_loads_in_order_and_goes_on_after_a_failure(home):
    home.kinds["c"].error = OSError("disk on fire")
    home.kinds["b"].may_load.clear()
    home.holder.warm(["c", "b", "a"])
    until(lambda: home.state("b") == "loading")
    assert home.state("c") == "failed"
    assert home.kinds["a"].loads == 0
    home.kinds["b"].may_load.set()
    until(lambda: home.state("a") == "ready")
    until(lambda: not any(status.users for status in home.holder.status()))
    assert home.journal == ["load b", "load a"]


def test_close_stops_loads_and_refuses_requests(home):
    home.touch("b")
    user = loading(home, "a")
    home.holder.close()
    assert "shutting down" in str(user.failed())
    assert home.kinds["a"].reports[0].cancel.is_set()
    assert home.journal == ["load b", "close b"]
    with pytest.raises(UnavailableError, match="shutting down"):
        borrow(home, "b")


def test_close_lets_go_of_those_who_wait_for_memory(home):
    home.add("big", 9)
    user = Borrower(home, "a").holding()
    waiter = Borrower(home, "big").queued()
    home.holder.close(timeout=0.0)
    assert "shutting down" in str(waiter.failed())
    user.leave()


def test_close_waits_for_users_for_a_time_and_never_closes_under_them(home):
    user = Borrower(home, "a").holding()
    home.holder.close(timeout=0.01)
    assert not user.models[0].closed
    user.leave()
    until(lambda: user.models[0].closed)


def test_close_returns_when_the_last_model_is_gone(home):
    user = Borrower(home, "a").holding()
    closing = threading.Thread(target=home.holder.close)
    closing.start()
    closing.join(0.02)
    assert closing.is_alive()
    user.leave()
    closing.join(PATIENCE)
    assert home.journal == ["load a", "close a"]


def test_a_stubborn_load_that_ends_after_close_is_thrown_away(home):
    home.kinds["a"].stubborn = True
    user = loading(home, "a")
    home.holder.close(timeout=0.0)
    assert "shutting down" in str(user.failed())
    home.kinds["a"].may_load.set()
    until(lambda: home.journal == ["load a", "close a"])


def test_default_budgets(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(model_loader, "CONTAINER_LIMITS", (tmp_path / "nowhere", limit))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    limit.write_text("max\n")
    assert default_budgets({"cuda:0": 7}) == {"cpu": 800, "cuda:0": 7}
    limit.write_text("5\n")  # Less than this process takes.
    assert default_budgets() == {"cpu": 0}
    assert default_budgets({"cpu": 5}) == {"cpu": 5}
    gpu = Gpu("cuda:0", "NVIDIA L4", 100, 50)
    assert default_budgets({"cpu": 5}, [gpu]) == {"cpu": 5, "cuda:0": 46}
    assert default_budgets({"cuda:0": 7}, [gpu])["cuda:0"] == 7
