"""Loads that fail: who hears of it, for how long, and what is kept. Fake models."""

import gc
import logging
import traceback
import weakref

import pytest
from fake_models import Borrower, House, borrow, loading, until

from errors import CancelledError, InputError, UnavailableError
from model_loader import ModelSpec


@pytest.fixture
def home():
    made = House({"cpu": 9, "cuda:0": 9})
    for name in "abc":
        made.add(name)
    yield made
    made.demolish()


def test_a_failed_load_is_remembered(home, caplog):
    home.kinds["a"].error = OSError("disk on fire")
    message = "A could not be loaded: OSError: disk on fire"
    for _ in range(2):
        with pytest.raises(UnavailableError) as caught:
            borrow(home, "a")
        assert str(caught.value) == message
        assert isinstance(caught.value.__cause__, OSError)
    assert home.kinds["a"].loads == 1
    assert home.status("a").failure == message
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert "disk on fire" in caplog.text


def test_a_failed_load_is_tried_again_after_a_time(home):
    home.kinds["a"].error = OSError("disk on fire")
    for seconds, loads in [(0, 1), (29, 1), (1, 2)]:
        home.clock.now += seconds
        with pytest.raises(UnavailableError):
            borrow(home, "a")
        assert home.kinds["a"].loads == loads


def test_a_failed_load_is_tried_again_on_demand(home):
    home.kinds["a"].error = OSError("disk on fire")
    with pytest.raises(UnavailableError):
        borrow(home, "a")
    home.kinds["a"].error = None
    home.holder.retry("a")
    assert home.status("a").failure is None
    borrow(home, "a")
    home.holder.retry("a")  # Nothing to forget.
    assert home.state("a") == "ready"


def test_everybody_who_waits_for_a_load_hears_that_it_failed(home):
    home.kinds["a"].error = SystemExit(3)  # Even what is no `Exception`.
    slow = home.kinds["b"]
    slow.may_load.clear()
    users = [loading(home, "a"), Borrower(home, "b", "a"), Borrower(home, "a")]
    until(lambda: home.status("a").users == 3)
    home.kinds["a"].may_load.set()
    errors = [user.failed() for user in users]
    assert [type(error) for error in errors] == [UnavailableError] * 3
    assert len(set(map(id, errors))) == 3  # Raising the same one on three threads would mix them.
    assert home.status("a").users == 0


def test_errors_for_the_user_keep_their_words(home):
    home.kinds["a"].error = InputError("Put the file elsewhere.")
    with pytest.raises(UnavailableError, match=r"^Put the file elsewhere\.$"):
        borrow(home, "a")


def test_a_loader_that_stops_by_itself_is_not_remembered_as_broken(home):
    home.kinds["a"].error = CancelledError("Stopped.")
    for loads in (1, 2):
        with pytest.raises(UnavailableError, match="was stopped"):
            borrow(home, "a")
        assert home.state("a") == "absent"
        assert home.kinds["a"].loads == loads


def test_a_remembered_failure_keeps_no_half_loaded_model_alive(home):
    class Weights:
        pass

    seen = []

    def load(_report):
        weights = Weights()
        seen.append(weakref.ref(weights))
        try:
            raise OSError("disk on fire")
        except OSError as error:
            raise RuntimeError("half-way") from error

    home.holder.register(ModelSpec("w", "W", "cpu", 1, load))
    logging.disable()  # The test runner would keep the record and so the frames.
    try:
        with pytest.raises(UnavailableError) as caught:
            borrow(home, "w")
    finally:
        logging.disable(logging.NOTSET)
    gc.collect()
    assert seen[0]() is None
    assert "half-way" in "".join(traceback.format_exception(caught.value))


def test_what_goes_wrong_in_a_load_that_was_called_off_is_not_remembered(home):
    home.kinds["a"].stubborn = True
    home.kinds["a"].error = OSError("torn down")
    loading(home, "a").stop()
    home.kinds["a"].may_load.set()
    until(lambda: home.state("a") != "loading")
    assert home.state("a") == "absent"
