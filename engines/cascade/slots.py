"""Which dialogue lies in which slot of the chat model, so that none is read twice."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from engines.base import Cancel
from engines.cascade.parts import Prompt

#: How soon a cancel is heard by who waits for a slot, seconds.
WAIT = 0.05
#: How long a dialogue waits for the slot of its last answer, which is about to end, seconds.
PATIENCE = 1.0
#: Messages of an exchange; who shares one shares a dialogue.
EXCHANGE = 2
#: As many messages in a row are held to be of one dialogue.
SAME = 3


@dataclass(slots=True)
class Slot:
    """One sequence of the model's cache.

    Attributes:
        number: As the server counts.
        prompts: What was read last.
        taken: When it was taken last, counted in requests.
        busy: Taken now.
        ahead: What is or was read is all there is of a message that is not over.
        shifted: The dialogue of before lost its oldest messages, and what follows them
            may be moved to the front as it is.
    """

    number: int
    prompts: tuple[Prompt, ...] = ()
    taken: int = -1
    busy: bool = False
    ahead: bool = False
    shifted: bool = False


class Slots:
    """Gives each request the slot that holds most of its messages.

    The server itself goes by the beginning of a prompt alone. A long dialogue
    that loses its oldest messages then looks like a new one: it would throw
    another dialogue out, and be read from the start.

    Args:
        count: How many requests may run at once.
    """

    def __init__(self, count: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._changed = threading.Condition()
        self._turns = itertools.count()

    @contextmanager
    def take(
        self, prompts: Sequence[Prompt], cancel: Cancel, *, ahead: bool = False
    ) -> Iterator[Slot]:
        """Hold a slot for the length of the context, waiting for one if need be.

        A dialogue waits for what is read ahead of it, never for that of another one.

        Args:
            prompts: What the request sends.
            cancel: Ends the wait.
            ahead: The last message is not over; nothing is to be written.

        Raises:
            CancelledError: While waiting.
        """
        slot = self._wait(tuple(prompts), cancel, ahead)
        try:
            yield slot
        finally:
            with self._changed:
                slot.busy = False
                self._changed.notify_all()

    def _wait(self, prompts: tuple[Prompt, ...], cancel: Cancel, ahead: bool) -> Slot:
        until = time.monotonic() + PATIENCE
        with self._changed:
            while (slot := self._best(prompts, time.monotonic() < until)) is None or slot.busy:
                self._changed.wait(WAIT)
                cancel.check()
            slot.shifted = _moved(slot.prompts, prompts) > 0
            slot.prompts, slot.taken = prompts, next(self._turns)
            slot.busy, slot.ahead = True, ahead
            return slot

    def _best(self, prompts: tuple[Prompt, ...], patient: bool) -> Slot | None:
        """The slot to take or to wait for; None: all are being answered in."""

        def worth(slot: Slot) -> tuple[float, bool, bool, int]:
            known = _known(slot, prompts)
            # Who has nothing here takes what is of use to nobody, else the oldest.
            return known, not slot.busy, not known and _is_begun(slot), -slot.taken

        def open_to(slot: Slot) -> bool:
            if not slot.busy or _is_beginning(slot, prompts):
                return True
            # What was asked before is ending: nobody asks twice at once.
            return patient and _known(slot, prompts) >= EXCHANGE

        return max(filter(open_to, self._slots), key=worth, default=None)


def _is_begun(slot: Slot) -> bool:
    """Whether a slot holds instructions and nothing that was said to the end."""
    return slot.ahead and len(slot.prompts) == len(("instructions", "beginning"))


def _known(slot: Slot, wanted: tuple[Prompt, ...]) -> float:
    """How many messages of a dialogue lie in a slot; of one that was not over, which part."""
    held = slot.prompts
    if not held or held[0] != wanted[0]:
        return 0.0
    same = _common(held[1:], wanted[1:])
    if slot.ahead and same + 2 == len(held) <= len(wanted):
        return same + _alike(held[-1].text, wanted[same + 1].text) / 2
    return max(same, _moved(held, wanted))


def _alike(one: str, other: str) -> float:
    """Length of the common beginning, as a share of the longer text."""
    return _common(one, other) / max(len(one), len(other), 1)


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    """How long the common beginning is."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _is_beginning(slot: Slot, prompts: tuple[Prompt, ...]) -> bool:
    """Whether what is being read in a slot is the beginning of this very dialogue."""
    last = len(slot.prompts) - 1
    if not slot.ahead or slot.prompts[:last] != prompts[:last] or len(prompts) == last:
        return False
    return not _is_begun(slot) or _alike(slot.prompts[last].text, prompts[last].text) > 0


def _moved(held: tuple[Prompt, ...], wanted: tuple[Prompt, ...]) -> int:
    """How many messages a prompt begins with that lay further back, as it lost its oldest.

    Only then may the cache be shifted: what it holds was read after other words,
    which must be words of the same dialogue.
    """
    if held[:1] != wanted[:1]:
        return 0
    rows = (held[first:-1] for first in range(2, len(held) - SAME))
    return next((len(row) for row in rows if row == wanted[1 : 1 + len(row)]), 0)
