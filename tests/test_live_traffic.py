"""Whether others are answered too."""

import gc

from live.traffic import RECENT, Traffic


class Caller:
    """Somebody."""


def test_others_are_noticed_for_a_while():
    now = [0.0]
    traffic = Traffic(lambda: now[0])
    one, other = Caller(), Caller()
    traffic.note(one)
    assert not traffic.shared(one), "alone"
    assert traffic.shared(other)
    now[0] = RECENT + 0.1
    assert not traffic.shared(other)
    traffic.note(other)
    assert traffic.shared(one)
    assert not traffic.shared(other)


def test_who_has_left_is_forgotten():
    traffic = Traffic()
    one, other = Caller(), Caller()
    traffic.note(other)
    assert traffic.shared(one)
    traffic.forget(other)
    traffic.forget(other)
    assert not traffic.shared(one)
    traffic.note(other)
    del other
    gc.collect()
    assert not traffic.shared(one)
