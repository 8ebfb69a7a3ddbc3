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
    assert traffic.others(one) == 0, "alone"
    assert traffic.others(other) == 1
    now[0] = RECENT + 0.1
    assert traffic.others(other) == 0
    traffic.note(other)
    assert traffic.others(one) == 1
    assert traffic.others(other) == 0


def test_each_other_counts():
    traffic = Traffic()
    callers = [Caller() for _ in range(4)]
    for caller in (*callers, callers[0]):
        traffic.note(caller)
    assert [traffic.others(caller) for caller in callers] == [3, 3, 3, 3]


def test_who_has_left_is_forgotten():
    traffic = Traffic()
    one, other = Caller(), Caller()
    traffic.note(other)
    assert traffic.others(one) == 1
    traffic.forget(other)
    traffic.forget(other)
    assert traffic.others(one) == 0
    traffic.note(other)
    del other
    gc.collect()
    assert traffic.others(one) == 0
