"""Whether a pause ends a turn: Smart Turn v3.2 (https://github.com/pipecat-ai/smart-turn, BSD-2).

A Whisper-tiny encoder with a classifier on top. It listens to how something is
said, not only to what: the words it never sees.
"""

from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from speech.pcm import Audio

#: Name of the weights in `weights.TABLE`.
WEIGHTS = "smart-turn-v3.2"
#: The model hears 16 kHz and, of everything said in a turn, the last 8 s.
RATE = 16_000
SECONDS = 8
SAMPLES = SECONDS * RATE
#: Keeps the normalization of digital silence finite; the value the model was trained with.
EPSILON = np.float32(1e-7)


class SmartTurn:
    """The model; it keeps nothing between calls, so any number of threads may call it.

    Args:
        path: The ONNX file.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        # One thread: recognizer and chat model are at work on the same speech meanwhile.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._mel = FeatureExtractor(feature_size=80, sampling_rate=RATE, chunk_length=SECONDS)
        # The first run allocates; the first pause of a person should not wait for that.
        self.probability(Audio(np.zeros(SAMPLES, np.float32), RATE))

    def probability(self, audio: Audio) -> float:
        """How likely the speaker is done.

        Args:
            audio: The turn so far, without the pause (see `Paused.speech`). Any
                rate; what is older than 8 s is not heard.

        Returns:
            0 (more will come) to 1 (complete).
        """
        features = self._features(audio.resampled(RATE).samples)
        (found,) = self._session.run(None, {"input_features": features[np.newaxis]})
        return float(found.item())

    def _features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-mel spectrogram float32 `[80, 800]` of 8 s that end where the signal ends.

        A shorter signal is preceded by zeros, which take part in the
        normalization to mean 0 and variance 1, as in the training.
        """
        recent = samples[-SAMPLES:]
        window = np.pad(recent, (SAMPLES - len(recent), 0))
        level = np.sqrt(window.var() + EPSILON)
        # No padding at the end: 8 s are 800 frames already.
        mel = self._mel((window - window.mean()) / level, padding=0)
        return np.asarray(mel, np.float32)
