"""WebRTC's voice activity detector: next to no work, and easily taken in by noise."""

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from speech.vad import FRAME, RATE

#: WebRTC hears 10 ms at a time.
PIECE = RATE // 100
#: How strictly it lets things pass as speech, 0 to 3: 2 lets quiet speech through, and not
#: yet every chair.
STRICTNESS = 2
#: A frame's word is averaged over so many pieces (80 ms): a single piece flickers.
WINDOW = 8


class LightDetector:
    """Stands in for `speech.vad.SpeechDetector`; one signal each.

    WebRTC only says yes or no, for pieces of 10 ms. The part of "yes" in the last
    `WINDOW` of them is given for a probability, so that thresholds mean something.
    """

    def __init__(self) -> None:
        self._vad = webrtcvad.Vad(STRICTNESS)
        self._rest = np.zeros(0, np.int16)
        self._voiced = np.zeros(WINDOW, np.float32)

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames of the signal.

        Args:
            samples: float32 `[n * FRAME]` at `RATE`, n >= 1.

        Returns:
            float32 `[n]`, how much of what was heard up to the end of each frame is speech.
        """
        return np.array([self._frame(frame) for frame in samples.reshape(-1, FRAME)], np.float32)

    def _frame(self, frame: NDArray[np.float32]) -> float:
        pcm = (np.clip(frame, -1, 1) * 32_767).astype(np.int16)
        # A frame is 3.2 pieces: what is left over is the beginning of the next one.
        given = np.concatenate([self._rest, pcm])
        whole = len(given) // PIECE
        self._rest = given[whole * PIECE :]
        for piece in given[: whole * PIECE].reshape(whole, PIECE):
            self._voiced = np.roll(self._voiced, -1)
            self._voiced[-1] = self._vad.is_speech(piece.tobytes(), RATE)
        return float(self._voiced.mean())
