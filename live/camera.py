"""What the camera saw in the last few seconds, by the time of the speech."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engines.base import EngineInfo
from engines.images import Image
from live.protocol import Emit, ProtocolError, error_event, event, read_image
from speech.vad import RATE

#: Largest frame, bytes: 1280 x 720 as a good JPEG has half of it.
MOST_FRAME_BYTES = 512_000
#: Frames a second; as many may come at once, after a hiccup of the network.
MOST_A_SECOND = 5
#: Frames of this much of the end of the speech go with it, seconds.
LAST = 1.0
#: Where there are none, the newest goes if it came at most so long before that end, seconds.
FRESH = 2.0
#: How long frames are kept, seconds: a turn may wait 8 s for its end.
KEPT = 10.0
#: All of them together, bytes.
MOST_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, when it came (samples received, and seconds), and the client's name for it."""

    at: int
    came: float
    image: Image
    name: str | None


class Camera:
    """The newest frames of one session, for an engine that sees.

    Frames are placed on the time line of the speech, which is counted in samples
    received; only their rate, and whether a typed question has fresh ones, is a
    matter of the clock.

    Args:
        engine: Who is shown them.
        emit: Queues an event for the client.
        clock: Monotonic, seconds.
    """

    def __init__(
        self, engine: EngineInfo, emit: Emit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._emit = emit
        self._told: set[str] = set()
        self._clock = clock
        self._frames: deque[Frame] = deque()
        self._allowed = float(MOST_A_SECOND)
        self._counted = clock()
        self._asked: tuple[int, tuple[Image, ...]] | None = None

    def look(self, frame: str, at: int, name: str | None = None) -> None:
        """Take a frame; a client whose engine cannot see is told once, not by the frame.

        Args:
            frame: A JPEG in base64.
            at: Samples received until now, 16 kHz.
            name: The client's own, to be told which one went with a turn.

        Raises:
            ProtocolError: If it is none, too big, or one too many; it is dropped then.
        """
        if not self._engine.can_see:
            self._tell_blind()
            return
        now = self._clock()
        self._allowed += (now - self._counted) * MOST_A_SECOND
        self._allowed, self._counted = min(self._allowed, MOST_A_SECOND), now
        if self._allowed < 1:
            raise ProtocolError(
                f"More than {MOST_A_SECOND} frames a second; this one was dropped.",
                "rate_limit_exceeded",
                param="image",
            )
        self._allowed -= 1
        self._frames.append(Frame(at, now, read_image(frame, "image", MOST_FRAME_BYTES), name))
        while self._frames[0].at < at - KEPT * RATE or self._size() > MOST_BYTES:
            self._frames.popleft()

    def frames(self, speech_end: int) -> tuple[Image, ...]:
        """What was seen at the end of an utterance, oldest first.

        The same end gives the same frames, whatever came since: the answer that is
        begun at a pause and the item of the turn show the same.

        Args:
            speech_end: Its last speech sample, 16 kHz.
        """
        if self._asked is None or self._asked[0] != speech_end:
            self._asked = speech_end, self._find(speech_end)
        return self._asked[1]

    def latest(self) -> tuple[Image, ...]:
        """What is seen now: the newest frame if it is fresh; for questions that are typed."""
        if not self._frames or self._clock() - self._frames[-1].came > FRESH:
            return ()
        return (self._frames[-1].image,)

    def tell(self, item_id: str, shown: tuple[Image, ...]) -> None:
        """Tell the client which frames went with a turn: how many, and the name of the last."""
        if not shown:
            return
        names = (frame.name for frame in self._frames if frame.image is shown[-1])
        told = {"item_id": item_id, "count": len(shown), "frame": next(names, None)}
        self._emit(event("parley.seen", **told))

    def switch(self, engine: EngineInfo, *, missed: bool) -> None:
        """Go on with another engine, which has seen nothing yet.

        Args:
            engine: The other one.
            missed: Earlier messages have images or frames.
        """
        self._engine = engine
        self._frames.clear()
        self._asked = None
        if missed and not engine.can_see:
            self._tell_blind()

    def _tell_blind(self) -> None:
        if self._engine.name not in self._told:
            self._told.add(self._engine.name)
            self._emit(error_event(self._engine.blind, "cannot_see"))

    def _find(self, end: int) -> tuple[Image, ...]:
        seen = [frame for frame in self._frames if end - LAST * RATE < frame.at <= end]
        if not seen and self._frames and self._frames[-1].at >= end - FRESH * RATE:
            seen = [self._frames[-1]]
        return tuple(frame.image for frame in seen)

    def _size(self) -> int:
        return sum(len(frame.image) for frame in self._frames)
