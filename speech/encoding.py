"""Speech as the bytes of a sound file, while it is made.

Through FFmpeg (PyAV); its MP3 encoder is LAME, its Opus encoder libopus.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from speech.pcm import Audio

Kind = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

#: Rate of everything encoded here, Hz: what clients of bare PCM take for granted.
RATE = 24_000

#: Silence after speech at another speed, seconds.
TAIL = 0.02

#: As `Content-Type`; bare PCM says there what its bytes do not.
MEDIA_TYPES: Mapping[Kind, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": f"audio/pcm;rate={RATE};channels=1",
}


@dataclass(frozen=True, slots=True)
class _Format:
    """What FFmpeg is asked for."""

    container: str
    codec: str
    sample: Literal["s16", "s16p", "fltp"] = "s16"
    options: tuple[tuple[str, str], ...] = ()


_FORMATS: Mapping[Kind, _Format] = {
    # Without the frame that would have to be filled in at the end.
    "mp3": _Format("mp3", "libmp3lame", "s16p", (("write_xing", "0"),)),
    # A page holds a second unless told otherwise, and is sent when it is full.
    "opus": _Format("ogg", "libopus", "s16", (("page_duration", "200000"),)),
    "aac": _Format("adts", "aac", "fltp", (("write_id3v2", "1"),)),
    "flac": _Format("flac", "flac"),
    "wav": _Format("wav", "pcm_s16le"),
}


class Encoder(Protocol):
    """Takes speech, gives the bytes of a file; each byte once, in order."""

    def add(self, audio: Audio) -> bytes:
        """The next piece, of any rate; returns what is ready of the file."""
        ...

    def finish(self) -> bytes:
        """The rest of the file."""
        ...


class Resampler:
    """A stream of speech at `RATE`, without seams between its pieces."""

    def __init__(self) -> None:
        self._stream: soxr.ResampleStream | None = None

    def add(self, audio: Audio) -> NDArray[np.float32]:
        """The next piece; all pieces have one rate. Returns float32 `[n]`."""
        if audio.rate == RATE:
            return audio.samples
        if self._stream is None:
            self._stream = soxr.ResampleStream(audio.rate, RATE, 1, dtype="float32")
        return _chunk(self._stream, audio.samples)

    def finish(self) -> NDArray[np.float32]:
        """What was held back."""
        if self._stream is None:
            return np.empty(0, np.float32)
        return _chunk(self._stream, np.empty(0, np.float32), last=True)


class Tempo:
    """Speech at another speed, its pitch unchanged (FFmpeg's `atempo`, a WSOLA).

    Args:
        speed: 0.25 to 4; 1 changes nothing.
    """

    def __init__(self, speed: float) -> None:
        self._graph: av.filter.Graph | None = None
        self._at = 0
        if speed == 1:
            return
        # One filter goes down to a half.
        steps = [0.5, speed / 0.5] if speed < 0.5 else [speed]  # noqa: PLR2004
        self._graph = graph = av.filter.Graph()
        chain = [
            graph.add_abuffer(sample_rate=RATE, format="flt", layout="mono"),
            *(graph.add("atempo", str(step)) for step in steps),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*chain).configure()

    def add(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next piece, float32 `[n]` at `RATE`; returns what is ready."""
        if self._graph is None or not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
        frame.sample_rate, frame.pts = RATE, self._at
        self._at += len(samples)
        self._graph.push(frame)
        return self._pulled()

    def finish(self) -> NDArray[np.float32]:
        """What was held back."""
        if self._graph is None or not self._at:
            return np.empty(0, np.float32)
        # Of the last samples the filter drops as many as its window did not get through.
        last = self.add(np.zeros(round(TAIL * RATE), np.float32))
        self._graph.push(None)
        return np.concatenate([last, self._pulled()])

    def _pulled(self) -> NDArray[np.float32]:
        assert self._graph is not None
        pieces = [np.empty(0, np.float32)]
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return np.concatenate(pieces)
            assert isinstance(frame, av.AudioFrame)
            pieces.append(frame.to_ndarray().reshape(-1).astype(np.float32))


def encoder(kind: Kind, *, speed: float = 1.0, comment: str = "", whole: bool = False) -> Encoder:
    """An encoder for one reply.

    Args:
        kind: Of the file; PCM is int16, little-endian, without a header.
        speed: 0.25 to 4, the pitch unchanged.
        comment: Goes into the file's metadata; bare PCM and the tags of AAC have none.
        whole: All of it comes at the end, and so the header can say how long it is. A FLAC
            file always comes so: readers believe its header, and few can do without.
    """
    return _Encoder(kind, speed, comment, whole=whole or kind == "flac")


class _Encoder:
    def __init__(self, kind: Kind, speed: float, comment: str, *, whole: bool) -> None:
        self._resampler = Resampler()
        self._tempo = Tempo(speed)
        self._file = None if kind == "pcm" else _File(_FORMATS[kind], comment, whole=whole)

    def add(self, audio: Audio) -> bytes:
        return self._encoded(self._tempo.add(self._resampler.add(audio)))

    def finish(self) -> bytes:
        rest = self._tempo.add(self._resampler.finish())
        last = self._encoded(np.concatenate([rest, self._tempo.finish()]))
        return last if self._file is None else last + self._file.finish()

    def _encoded(self, samples: NDArray[np.float32]) -> bytes:
        pcm = Audio(samples, RATE).pcm16()
        return pcm.astype("<i2").tobytes() if self._file is None else self._file.add(pcm)


class _File:
    """A file of one format, written to memory and taken from there."""

    def __init__(self, wanted: _Format, comment: str, *, whole: bool) -> None:
        self._whole = whole
        self._sink = io.BytesIO() if whole else _Pipe()
        self._container = av.open(
            self._sink,
            "w",
            format=wanted.container,
            options={**dict(wanted.options), "fflags": "flush_packets"},
        )
        if comment:
            self._container.metadata["comment"] = comment
        self._stream = self._container.add_stream(wanted.codec, rate=RATE, layout="mono")
        self._sample = wanted.sample

    def add(self, pcm: NDArray[np.int16]) -> bytes:
        if not len(pcm):
            return b""
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = RATE
        self._container.mux(self._stream.encode(frame))
        return b"" if self._whole else self._taken()

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._taken()

    def _taken(self) -> bytes:
        if isinstance(self._sink, _Pipe):
            return self._sink.take()
        return self._sink.getvalue()


class _Pipe:
    """A file that can only be written to, and whose content is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _chunk(
    stream: soxr.ResampleStream, samples: NDArray[np.float32], *, last: bool = False
) -> NDArray[np.float32]:
    resampled: NDArray[np.float32] = stream.resample_chunk(samples, last=last)
    return resampled
