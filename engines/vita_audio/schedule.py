"""Which part of the model makes which token of a reply.

A speed mode is a list of counts that alternate between the main model and the prediction heads:
`[1, 10, 4, 10]` (Boost) lets the main model make one token, the heads ten, the main model four,
the heads ten, and so on with the last two counts. The first token always comes from the main
model, which reads the prompt for it. Tokens of the heads are not verified, so modes differ in
what they say, not only in how fast.
"""

from dataclasses import dataclass, field
from itertools import accumulate

from errors import InputError


@dataclass(frozen=True, slots=True)
class Schedule:
    """A speed mode.

    Args:
        mode: Main counts at even places, head counts at odd ones. Of both, the last one repeats.

    Raises:
        InputError: If it is no mode, or never gets on.
    """

    mode: tuple[int, ...]
    _rounds: tuple[tuple[int, int], ...] = field(init=False, repr=False)
    _starts: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mains, heads = self.mode[0::2], self.mode[1::2]
        if not heads or mains[0] < 1 or min(self.mode) < 0 or mains[-1] + heads[-1] < 1:
            raise InputError(
                f"{list(self.mode)} is no speed mode: give counts of main and of head steps in "
                "turn, such as 1,10; the first is at least 1, and of the last two not both are 0."
            )
        rounds = tuple(
            (mains[min(i, len(mains) - 1)], heads[min(i, len(heads) - 1)])
            for i in range(max(len(mains), len(heads)))
        )
        object.__setattr__(self, "_rounds", rounds)
        starts = accumulate((main + head for main, head in rounds), initial=0)
        object.__setattr__(self, "_starts", tuple(starts)[:-1])

    def run(self, slot: int) -> int:
        """How many tokens the heads make from here on before the main model is due.

        Args:
            slot: Tokens of the reply that are there, from 0.

        Returns:
            0 where the main model is due; a large number where it never is again.
        """
        last = len(self._rounds) - 1
        number = next(i for i in range(last, -1, -1) if self._starts[i] <= slot)
        main, head = self._rounds[number]
        within = slot - self._starts[number]
        if number == last:
            within %= main + head
        if within < main:
            return 0
        left = main + head - within
        # A round without main steps continues the run of the one before.
        following = self._rounds[number + 1 :] or self._rounds[last:]
        for main, head in following:
            if main:
                return left
            left += head
        return NEVER if following[-1][0] == 0 else left

    def deepest(self, slot: int, heads: int) -> int:
        """How many of the heads are ever used from a slot on, at most.

        Args:
            slot: Tokens of the reply that are there.
            heads: Heads of the model; a longer run goes back to the main model after the last.
        """
        begins = [start + main for start, (main, _) in zip(self._starts, self._rounds, strict=True)]
        ahead = [slot, begins[-1], *(begin for begin in begins if begin >= slot)]
        return min(max(map(self.run, ahead)), heads)


#: Longer than any reply.
NEVER = 2**30

VANILLA = Schedule((1, 0))
BALANCE = Schedule((1, 4, 3, 8, 4, 10))
BOOST = Schedule((1, 10, 4, 10))
TURBO = Schedule((1, 10))

#: The modes that the paper names (arXiv 2505.03739), the slowest first.
MODES = {"vanilla": VANILLA, "balance": BALANCE, "boost": BOOST, "turbo": TURBO}
