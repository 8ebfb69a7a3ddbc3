"""Speech as it is made: a file that says what it is, and its beginning for comparisons."""

from pathlib import Path

from demos.clips import ClipWriter
from speech.pcm import Audio, concatenate
from voices.marks import Made

#: Of longer speech only so much is compared and drawn, seconds.
COMPARED = 30.0


class Take:
    """A WAV file that grows with the speech.

    Args:
        name: What the file is called.
        rate: Of the speech, Hz.
        made: What the file says of itself; None for a recording.
    """

    def __init__(self, name: str, rate: int, made: Made | None) -> None:
        self.rate = rate
        self.seconds = 0.0
        self._beginning: list[Audio] = []
        self._writer = ClipWriter(rate, name, made)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._writer.path

    def add(self, audio: Audio) -> None:
        """Append speech of the take's rate."""
        if self.seconds < COMPARED:
            self._beginning.append(audio)
        self._writer.add(audio)
        self.seconds += audio.seconds

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()

    @property
    def beginning(self) -> Audio:
        """What comparisons hear of it: about `COMPARED` seconds."""
        return concatenate(self._beginning)


def recorded(name: str, audio: Audio) -> Take:
    """A recording as a file."""
    take = Take(name, audio.rate, None)
    take.add(audio)
    take.close()
    return take
