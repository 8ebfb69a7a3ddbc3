"""Pictures of speech in HTML that follow the theme: spectrograms and pitch contours."""

import base64
import io
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from speech.pcm import Audio
from speech.world import HIGHEST_PITCH, LOWEST_PITCH, PERIOD, analyse

#: What is drawn of longer speech, seconds.
DRAWN = 12.0
#: Above lies little of a voice, Hz.
TOP = 8000
RATE = 2 * TOP
#: Analysis window, samples (32 ms): narrow enough in time for syllables, in pitch for harmonics.
WINDOW = 512
#: Points over the width of a picture, and the levels between which it is drawn, dB below its peak.
WIDTH = 640
RANGE_DB = 65.0
#: Reads well on white and on slate.
INK = (13, 148, 136)
HEIGHT = 100.0
PITCH_LINES = (100, 200, 400)


def spectrogram(audio: Audio, title: str) -> str:
    """A spectrogram with its axes, as a figure.

    Args:
        audio: Its first `DRAWN` seconds are drawn.
        title: What it is of.
    """
    audio = _drawn(audio)
    data = base64.b64encode(_png(_levels(audio))).decode()
    what = f"Spectrogram of {title.lower()}: 0 to {TOP // 1000} kHz over {audio.seconds:.1f} s"
    return (
        f'<figure class="voice-plot"><figcaption>{title}</figcaption>'
        f'<div class="voice-picture"><img src="data:image/png;base64,{data}" alt="{what}">'
        f'<span class="voice-top">{TOP // 1000} kHz</span>'
        f'<span class="voice-end">{audio.seconds:.1f} s</span></div></figure>'
    )


def pitch_contours(voices: dict[str, Audio]) -> str:
    """Pitch over time of several voices in one figure, with their medians in its legend.

    Args:
        voices: By what they are called; the first `DRAWN` seconds of each are drawn.
    """
    tracks = {name: analyse(_drawn(audio)).pitch for name, audio in voices.items()}
    longest = max(len(track) for track in tracks.values())
    lines = "".join(
        f'<polyline class="voice-line-{number}" points="{points}"/>'
        for number, track in enumerate(tracks.values())
        for points in _lines(track, longest)
    )
    grid = "".join(f'<path d="M0 {_height(hertz):.1f}H{WIDTH}"/>' for hertz in PITCH_LINES)
    marks = "".join(
        f'<span class="voice-mark" style="top:{_height(hertz):.1f}%">{hertz} Hz</span>'
        for hertz in PITCH_LINES
    )
    legend = "".join(
        f'<span class="voice-key-{number}">{name}: {_summary(track)}</span>'
        for number, (name, track) in enumerate(tracks.items())
    )
    what = "; ".join(f"{name}: {_summary(track)}" for name, track in tracks.items())
    return (
        f'<figure class="voice-plot"><figcaption>Pitch</figcaption><div class="voice-picture">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="Pitch over time. {what}">{grid}{lines}</svg>{marks}'
        f'<span class="voice-end">{longest * PERIOD:.1f} s</span></div>'
        f'<p class="voice-legend">{legend}</p></figure>'
    )


def _drawn(audio: Audio) -> Audio:
    return Audio(audio.samples[: round(DRAWN * audio.rate)], audio.rate)


def _levels(audio: Audio) -> NDArray[np.float64]:
    """Level by frequency and time, `[WINDOW / 2, WIDTH]`, 0 to 1, low frequencies first."""
    samples = np.pad(audio.resampled(RATE).samples, WINDOW // 2)
    starts = np.linspace(0, max(0, len(samples) - WINDOW), WIDTH).astype(int)
    frames = samples[starts[:, None] + np.arange(min(WINDOW, len(samples)))] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)[:, : WINDOW // 2]) ** 2
    level = 10 * np.log10(np.maximum(power, 1e-12))
    found: NDArray[np.float64] = np.clip(1 + (level - level.max()) / RANGE_DB, 0, 1).T
    return found


def _png(levels: NDArray[np.float64]) -> bytes:
    """Levels as opacity of one ink, so that the background shows through whatever it is."""
    pixels = np.empty((*levels.shape, 4), np.uint8)
    pixels[..., :3] = INK
    pixels[..., 3] = np.round(255 * levels[::-1] ** 1.5)
    content = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(content, "PNG", optimize=True)
    return content.getvalue()


def _lines(track: NDArray[np.float64], longest: int) -> list[str]:
    """A line for each stretch with voice; two frames make one point."""
    lines = []
    for voiced, stretch in groupby(range(0, len(track), 2), lambda frame: track[frame] > 0):
        if voiced:
            lines.append(
                " ".join(
                    f"{frame * WIDTH / longest:.1f},{_height(track[frame]):.1f}"
                    for frame in stretch
                )
            )
    return lines


def _height(hertz: float) -> float:
    """Where a pitch is drawn, from the top, 0 to `HEIGHT`: octaves are equally high."""
    share = np.log(hertz / LOWEST_PITCH) / np.log(HIGHEST_PITCH / LOWEST_PITCH)
    return float(HEIGHT * (1 - np.clip(share, 0, 1)))


def _summary(track: NDArray[np.float64]) -> str:
    voiced = track[track > 0]
    if not len(voiced):
        return "no voiced sound"
    low, middle, high = np.percentile(voiced, (10, 50, 90))
    return f"median {middle:.0f} Hz, mostly {low:.0f} to {high:.0f} Hz"
