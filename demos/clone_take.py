"""Speech as it is made: a file that says what it is, and its beginning for comparisons."""

import secrets
from pathlib import Path

import soundfile
from gradio.utils import get_upload_folder

from speech.names import safe_name
from speech.pcm import Audio, concatenate
from voices.marks import Made, label

#: Of longer speech only so much is compared and drawn, seconds.
COMPARED = 30.0


def served(name: str) -> Path:
    """A new place for a file of this name, from where the page may serve it to who knows it."""
    folder = Path(get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder / safe_name(name)


class Take:
    """A WAV file that grows with the speech.

    Args:
        name: What the file is called.
        rate: Of the speech, Hz.
        made: What the file says of itself; None for a recording.
    """

    def __init__(self, name: str, rate: int, made: Made | None) -> None:
        self.path = served(f"{name}.wav")
        self.rate = rate
        self.seconds = 0.0
        self._beginning: list[Audio] = []
        self._file = soundfile.SoundFile(self.path, "w", rate, 1, "PCM_16")
        if made is not None:
            label(self._file, made)

    def add(self, audio: Audio) -> None:
        """Append speech of the take's rate."""
        if self.seconds < COMPARED:
            self._beginning.append(audio)
        self._file.write(audio.pcm16())
        self.seconds += audio.seconds

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

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
