"""What of a dialogue a model is shown."""

from itertools import pairwise

import pytest

from engines.messages import Conversation


def grown(exchanges, limit):
    conversation = Conversation(limit=limit)
    for number in range(exchanges):
        conversation = conversation.after(f"q{number}", f"a{number}")
    return conversation


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20])
def test_what_is_visible(limit):
    for exchanges in range(60):
        shown = grown(exchanges, limit).visible()
        assert len(shown) <= limit
        assert not shown or shown[0].role == "user"
        assert not shown or shown[-1].text == f"a{exchanges - 1}"
        if limit > 3 and exchanges:
            assert len(shown) >= min(2 * exchanges, limit // 2 - 1)


def test_nothing_is_visible_without_a_limit_to_it():
    assert grown(3, 0).visible() == ()


def test_the_beginning_stays_for_some_turns():
    begins = [grown(exchanges, 20).visible()[0].text for exchanges in range(1, 100)]
    changes = sum(one != other for one, other in pairwise(begins))
    assert changes <= 100 // 5


@pytest.mark.parametrize("limit", [2, 3, 20])
def test_trimming_hides_nothing_that_was_visible(limit):
    for exchanges in range(100):
        conversation = grown(exchanges, limit)
        trimmed = conversation.trimmed(2 * limit)
        assert trimmed.visible() == conversation.visible()
        assert len(trimmed.messages) <= 3 * limit + 2
        assert trimmed.after("q", "a").visible() == conversation.after("q", "a").visible()
