"""Whose voice is it: the speaker embedding of Resemblyzer, on numpy.

Source: https://github.com/resemble-ai/Resemblyzer (Apache-2.0), after "Generalized
end-to-end loss for speaker verification", Wan et al., 2018. Three LSTM layers read
40 mel bands over 1.6 s; what they end with is the voice.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import InputError, UnavailableError
from speech.level import SILENCE_DB, level_db
from speech.pcm import Audio
from speech.vad import speech_regions

#: Name of the weights in `weights.table`.
WEIGHTS = "resemblyzer"
RATE = 16_000
#: Length of an embedding.
SIZE = 256
#: Units of each LSTM layer.
HIDDEN = 256
#: Analysis window and step of the mel spectrogram, samples (25 and 10 ms).
WINDOW = 400
HOP = 160
BANDS = 40
#: Frames that the network reads at once (1.6 s).
FRAMES = 160
#: Frames from one reading to the next: 1.3 readings a second.
STEP = 77
#: A last reading counts if at least this part of it is signal.
LEAST_COVERAGE = 0.75
#: Readings of one clip at most, spread evenly: about a minute of speech, 1 s of work.
MOST_WINDOWS = 78
#: Level that clips are brought to, dBFS. The original raises soft ones and leaves loud ones;
#: but as it hears power, not its logarithm, the same clip at -20 and at -30 dBFS would then
#: have a similarity of .88 only.
LEVEL_DB = -30.0
#: Pauses up to this long stay in, seconds.
LONGEST_PAUSE = 0.2
#: Less speech than this says nothing about the voice, seconds.
SHORTEST = 0.4

#: What similarities mean, as measured with the people of `bench.people`. Of pieces of 5 s
#: of one recording 95 % are at least this alike (median .92, least .74) ...
SAME_SPEAKER = 0.82
#: ... and of two people's at most this (median .58, most .75).
OTHER_SPEAKER = 0.67

Embedding = NDArray[np.float32]
"""float32 `[256]` of unit length; no value is negative, so similarities lie in 0 to 1."""

#: The numbers in `pretrained.pt`: bytes from its start to each run of float32, and how many
#: (a run has its count in the eight bytes before it). The file is a pickle of torch; as its
#: content is fixed by its hash, its numbers are read from their places, and nothing is
#: unpickled. What is not here are the states of the optimizer.
_BIAS_AT, _BIAS_COUNT = 6_699, SIZE
_LINEAR_AT, _LINEAR_COUNT = 7_731, SIZE * HIDDEN
_LSTM_AT, _LSTM_COUNT = 269_883, 1_357_824
_LAYERS = 3


@dataclass(frozen=True, slots=True)
class _Layer:
    """One LSTM layer; the gates in the order input, forget, cell, output.

    Attributes:
        inputs: float32 `[in, 4 * HIDDEN]`.
        states: float32 `[HIDDEN, 4 * HIDDEN]`.
        bias: float32 `[4 * HIDDEN]`.
    """

    inputs: NDArray[np.float32]
    states: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Windows:
    """What the network made of each piece of a clip.

    Attributes:
        embeddings: float32 `[n, 256]`, each of unit length.
        starts: float64 `[n]`, where in the clip each piece begins, seconds.
    """

    embeddings: NDArray[np.float32]
    starts: NDArray[np.float64]

    @property
    def mean(self) -> Embedding:
        """The voice of the whole clip."""
        return _unit(self.embeddings.mean(axis=0))


class SpeakerEncoder:
    """Embeds voices. Holds weights only, so any number of threads may call it.

    Args:
        weights: `pretrained.pt` of Resemblyzer 0.1.4, as the `Store` keeps it.

    Raises:
        UnavailableError: If the file is not there or is another one.
    """

    def __init__(self, weights: Path) -> None:
        try:
            content = weights.read_bytes()
        except OSError as error:
            raise UnavailableError(f"The speaker encoder cannot be read: {error}.") from error
        self._bias = _numbers(content, _BIAS_AT, _BIAS_COUNT)
        self._linear = _numbers(content, _LINEAR_AT, _LINEAR_COUNT).reshape(SIZE, HIDDEN).T
        self._layers = _layers(_numbers(content, _LSTM_AT, _LSTM_COUNT))

    def embed(self, audio: Audio) -> Embedding:
        """The voice of a clip.

        Pauses are left out (found by Silero, where the original uses WebRTC's detector),
        clips are brought to -30 dBFS, and the readings of 1.6 s are averaged.

        Args:
            audio: Any rate; of clips beyond a minute, evenly spread pieces are read.

        Raises:
            InputError: If there is no speech in it.
        """
        return self.windows(audio).mean

    def windows(self, audio: Audio) -> Windows:
        """The voice of each piece of a clip; see `embed`.

        Raises:
            InputError: If there is no speech in it.
        """
        speech, times = _speech_only(audio.resampled(RATE))
        firsts = _evenly(window_starts(len(speech)))
        embeddings = self.read(_normalized(speech), firsts)
        starts = times[np.minimum(firsts * HOP, len(times) - 1)]
        return Windows(embeddings, starts)

    def read(self, samples: NDArray[np.float32], firsts: NDArray[np.int64]) -> Embedding:
        """What the network makes of pieces of a signal, as it is.

        Args:
            samples: float32 `[m]` at `RATE`.
            firsts: int64 `[n]`, the first frame of each piece, see `window_starts`.

        Returns:
            float32 `[n, 256]`, rows of unit length.
        """
        hidden = np.stack([mel_frames(samples, int(first)) for first in firsts])
        for layer in self._layers:
            hidden = _run(layer, hidden)
        return _unit(np.maximum(hidden[:, -1] @ self._linear + self._bias, 0))


def similarity(first: Embedding, second: Embedding) -> float:
    """How alike two voices are, 0 to 1; `meaning` puts it into words."""
    return float(np.clip(np.dot(first, second), 0.0, 1.0))


def meaning(value: float) -> str:
    """A similarity in words."""
    if value >= SAME_SPEAKER:
        return "As alike as two recordings of the same person."
    if value > OTHER_SPEAKER:
        return "Alike, but not as much as two recordings of the same person usually are."
    return "As alike as the voices of different people."


def window_starts(samples: int) -> NDArray[np.int64]:
    """First frames of the pieces that a signal of `samples` at `RATE` is read in."""
    frames = -(-(samples + 1) // HOP)
    firsts = np.arange(0, max(1, frames - FRAMES + STEP + 1), STEP)
    coverage = (samples / HOP - firsts[-1]) / FRAMES
    return firsts[:-1] if coverage < LEAST_COVERAGE and len(firsts) > 1 else firsts


def mel_frames(samples: NDArray[np.float32], first: int) -> NDArray[np.float32]:
    """Power in 40 mel bands (not its logarithm), for `FRAMES` frames.

    Args:
        samples: float32 `[m]` at `RATE`; silent beyond its ends.
        first: The first frame; frame i is centred on sample i * `HOP`.

    Returns:
        float32 `[FRAMES, BANDS]`.
    """
    start = first * HOP - WINDOW // 2
    stop = start + (FRAMES - 1) * HOP + WINDOW
    piece = samples[max(0, start) : max(0, stop)]
    before = max(0, -start)
    piece = np.pad(piece, (before, stop - start - before - len(piece)))
    frames = np.lib.stride_tricks.sliding_window_view(piece, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    return (power @ _filterbank()).astype(np.float32)


@cache
def _filterbank() -> NDArray[np.float64]:
    """Triangles of equal area on Slaney's mel scale, `[WINDOW // 2 + 1, BANDS]`."""
    # Linear up to 1 kHz, which is 15 mel; logarithmic above, with 27 mel up to 6.4 kHz.
    corner, corner_hz, slope = 15.0, 1000.0, np.log(6.4) / 27
    mels = np.linspace(0, corner + np.log(RATE / 2 / corner_hz) / slope, BANDS + 2)
    above = corner_hz * np.exp(np.maximum(0, mels - corner) * slope)
    edges = np.minimum(mels / corner, 1) * above
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    bank: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return bank


def _speech_only(audio: Audio) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The signal without its pauses, and the time of each of its samples in the clip."""
    kept = np.zeros(len(audio), bool)
    for start, end in speech_regions(audio, min_silence=LONGEST_PAUSE, pad=LONGEST_PAUSE / 2):
        kept[round(start * audio.rate) : round(end * audio.rate)] = True
    at = np.flatnonzero(kept)
    if len(at) < SHORTEST * audio.rate:
        raise InputError("There is too little speech in this clip to tell a voice by it.")
    return audio.samples[at], at / audio.rate


def _normalized(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """At `LEVEL_DB`."""
    level = level_db(samples)
    return samples if level <= SILENCE_DB else samples * np.float32(10 ** ((LEVEL_DB - level) / 20))


def _evenly(firsts: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `MOST_WINDOWS` of them, the first and the last among them."""
    if len(firsts) <= MOST_WINDOWS:
        return firsts
    chosen = np.linspace(0, len(firsts) - 1, MOST_WINDOWS).round().astype(int)
    found: NDArray[np.int64] = firsts[chosen]
    return found


def _run(layer: _Layer, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 `[n, frames, in]` to `[n, frames, HIDDEN]`."""
    given = inputs @ layer.inputs + layer.bias
    state = np.zeros((len(inputs), HIDDEN), np.float32)
    cell = np.zeros_like(state)
    outputs = np.empty((*inputs.shape[:2], HIDDEN), np.float32)
    for frame in range(inputs.shape[1]):
        gates = given[:, frame] + state @ layer.states
        enter, forget, change, leave = np.split(gates, 4, axis=1)
        cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(change)
        state = _sigmoid(leave) * np.tanh(cell)
        outputs[:, frame] = state
    return outputs


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # By tanh, which does not overflow.
    found: NDArray[np.float32] = np.float32(0.5) * (np.tanh(np.float32(0.5) * values) + 1)
    return found


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: NDArray[np.float32] = (vectors / np.maximum(length, 1e-9)).astype(np.float32)
    return found


def _layers(block: NDArray[np.float32]) -> tuple[_Layer, ...]:
    """The block holds the matrices of all layers, then the biases of all layers."""
    gates = 4 * HIDDEN
    sizes = [inputs * gates for layer in range(_LAYERS) for inputs in (_width(layer), HIDDEN)]
    sizes += [gates] * (2 * _LAYERS)
    parts = np.split(block, np.cumsum(sizes)[:-1])
    return tuple(
        _Layer(
            inputs=np.ascontiguousarray(parts[2 * layer].reshape(gates, _width(layer)).T),
            states=np.ascontiguousarray(parts[2 * layer + 1].reshape(gates, HIDDEN).T),
            bias=parts[2 * (_LAYERS + layer)] + parts[2 * (_LAYERS + layer) + 1],
        )
        for layer in range(_LAYERS)
    )


def _width(layer: int) -> int:
    return HIDDEN if layer else BANDS


def _numbers(content: bytes, at: int, count: int) -> NDArray[np.float32]:
    """A run of float32, if its count stands before it."""
    if content[at - 8 : at] != count.to_bytes(8, "little") or len(content) < at + 4 * count:
        raise UnavailableError("This is not the speaker encoder of Resemblyzer 0.1.4.")
    return np.frombuffer(content, "<f4", count, at).astype(np.float32)
