"""Which slot of the chat model a request gets, and when it waits for one."""

import threading
from contextlib import ExitStack

import pytest

from engines.base import Cancel
from engines.cascade.parts import Prompt
from engines.cascade.slots import PATIENCE, SAME, Slots
from errors import CancelledError

SYSTEM = Prompt("system", "Be brief.")
LONG = 10.0  # Seconds after which a wait in a test has failed.


def dialogue(name, exchanges, *, first=0, last="Go on.", system=SYSTEM):
    """A dialogue up to its next question."""
    said = [
        Prompt(role, f"{role} {number} of {name}")
        for number in range(first, exchanges)
        for role in ("user", "assistant")
    ]
    return (system, *said, Prompt("user", last))


def used(slots, prompts, **options):
    """Take a slot for a moment: its number, and whether its cache may be shifted."""
    with slots.take(prompts, Cancel(), **options) as slot:
        return slot.number, slot.shifted


def test_a_dialogue_goes_on_in_its_slot():
    slots = Slots(3)
    mine, others = used(slots, dialogue("a", 0)), used(slots, dialogue("b", 0, last="Hello."))
    assert mine != others
    for exchanges in (1, 2, 3):
        said = dialogue("a", exchanges)
        first = Prompt("user", "Go on.")
        assert used(slots, (SYSTEM, first, *said[2:])) == mine


def test_a_dialogue_that_lost_its_oldest_messages_keeps_its_slot():
    slots = Slots(3)
    number, _ = used(slots, dialogue("a", 8))
    used(slots, dialogue("b", 8))
    assert used(slots, dialogue("a", 9, first=4)) == (number, True)
    assert used(slots, dialogue("a", 10, first=4)) == (number, False), "only what moved is shifted"


@pytest.mark.parametrize(
    "prompts",
    [
        dialogue("b", 9, first=4),
        dialogue("a", 9, first=4, system=Prompt("system", "Be a pirate.")),
        dialogue("a", 8, first=8 - SAME // 2),
        dialogue("a", 9, first=4)[1:],
    ],
    ids=["others", "other instructions", "too little in common", "no instructions"],
)
def test_nothing_else_is_shifted(prompts):
    slots = Slots(1)
    used(slots, dialogue("a", 8))
    assert used(slots, prompts) == (0, False)


def test_other_instructions_are_another_dialogue():
    slots = Slots(2)
    number, _ = used(slots, dialogue("a", 3))
    pirate = dialogue("a", 3, system=Prompt("system", "Be a pirate."))
    assert used(slots, pirate)[0] != number


def test_the_same_words_do_not_make_the_same_dialogue():
    slots = Slots(2)
    number, _ = used(slots, dialogue("a", 2))
    assert used(slots, dialogue("b", 2))[0] != number, "both said: Go on."


def test_a_new_dialogue_takes_what_is_of_use_to_nobody():
    slots = Slots(2)
    ready, _ = used(slots, dialogue("none", 0, last="Hi"), ahead=True)
    assert used(slots, dialogue("a", 0, last="What is it?"))[0] == ready
    assert used(slots, dialogue("b", 0, last="Who is it?"))[0] != ready


def test_else_the_oldest():
    slots = Slots(2)
    numbers = {name: used(slots, dialogue(name, 2))[0] for name in "ab"}
    used(slots, dialogue("a", 3))
    assert used(slots, dialogue("c", 2))[0] == numbers["b"]


def test_an_answer_finds_what_was_read_ahead():
    slots = Slots(3)
    with slots.take(dialogue("a", 0, last="Where is"), Cancel(), ahead=True):
        number, _ = used(slots, dialogue("b", 0, last="How old is"), ahead=True)
    assert used(slots, dialogue("b", 0, last="How old is it?"))[0] == number


class Waiting:
    """Asks for a slot on a thread."""

    def __init__(self, slots, prompts):
        self.cancel = Cancel()
        self.number = self.refused = None
        self._thread = threading.Thread(target=self._run, args=(slots, prompts), daemon=True)
        self._thread.start()

    def _run(self, slots, prompts):
        try:
            with slots.take(prompts, self.cancel) as slot:
                self.number = slot.number
        except CancelledError as error:
            self.refused = error

    def still(self, seconds=0.1):
        self._thread.join(seconds)
        return self._thread.is_alive()

    def ended(self):
        self._thread.join(LONG)
        return not self._thread.is_alive()


def test_an_answer_waits_for_its_own_reading_and_for_no_other():
    slots = Slots(2)
    with slots.take(dialogue("a", 2, last="Where"), Cancel(), ahead=True) as reading:
        own = Waiting(slots, dialogue("a", 2, last="Where is it?"))
        other = Waiting(slots, dialogue("b", 2))
        assert other.ended()
        assert other.number != reading.number
        assert own.still(PATIENCE + 0.2)
    assert own.ended()
    assert own.number == reading.number


def test_what_is_said_next_waits_a_moment_for_the_answer_before():
    slots = Slots(2)
    with slots.take(dialogue("a", 2), Cancel()) as answering:
        following = Waiting(slots, dialogue("a", 3))
        assert following.still()
    assert following.ended()
    assert following.number == answering.number


def test_but_not_for_ever():
    slots = Slots(2)
    with slots.take(dialogue("a", 2), Cancel()) as answering:
        following = Waiting(slots, dialogue("a", 3))
        assert following.ended()
        assert following.number != answering.number


def test_a_cancel_ends_the_wait():
    slots = Slots(1)
    with slots.take(dialogue("a", 2), Cancel()):
        waiting = Waiting(slots, dialogue("b", 2))
        assert waiting.still()
        waiting.cancel.set()
        assert waiting.ended()
        assert waiting.refused is not None


def test_each_request_has_a_slot_of_its_own():
    slots = Slots(4)
    with ExitStack() as held:
        taken = [
            held.enter_context(slots.take(dialogue(name, 1), Cancel())).number for name in "abcd"
        ]
        assert sorted(taken) == [0, 1, 2, 3]
        late = Waiting(slots, dialogue("e", 1))
        assert late.still()
    assert late.ended()
