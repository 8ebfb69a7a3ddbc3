"""One voice's speech moved towards another voice: pitch, formants and spectrum.

This is signal processing on what one synthesizer says, not cloning: words, rhythm and
articulation stay its own. Every step is a fixed map from the statistics of one voice to
those of the other, so a clause comes out the same whatever was said before it.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from speech.bands import BANDS, Bands, centres, level_free, to_bands, to_bins, unwarped, warped
from speech.level import SILENCE_DB, level_db
from speech.pcm import Audio
from speech.timbre import Timbre
from speech.world import BINS, LEAST_POWER, RATE, Voiceprint, analyse, synthesize

#: Of the meaning of a `Plan`; plans of another version are tuned again.
VERSION = 1
#: Cosines that the shape of a spectrum is mapped in: formants, not single bands.
SHAPE = 32
#: Cosines by which alike sounds are found, and how many of them are averaged.
COARSE = 8
NEIGHBOURS = 4
#: Most that a band is raised or lowered, dB; more brings up noise and artefacts.
MOST_GAIN = 24.0
#: A voice's pitch may become this much livelier or flatter.
LEAST_LIVELINESS = 0.7
MOST_LIVELINESS = 1.4
#: Vocal tracts differ by less than this, from men to children.
WARPS = (0.7, 1.4)
#: Frames over which voicing and gains are smoothed (35 ms), so that no filter jumps.
SMOOTHING = 7
#: Ramp at both ends of a clause, seconds: no click wherever it is joined.
EDGE = 0.003
#: Variances of the shape below this are noise of the estimate, dB squared.
LEAST_VARIANCE = 1.0
#: Loudest sample that may come out.
PEAK = 0.98

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is best found out by trying, see `speech.tuning`.

    Attributes:
        warp: Factor by which formants move, 1 for not at all.
        spectrum: How far the mean spectrum goes towards the other voice's, from 0 (stay) to
            1 (all the way). Pitch always goes all the way.
        shape: The same for the way the spectrum varies from sound to sound.
        sounds: How far each sound goes towards the most alike sounds of the other voice. All
            the way comes a little nearer, but costs clearness (DNSMOS -0.1).
    """

    warp: float = 1.0
    spectrum: float = 1.0
    shape: float = 1.0
    sounds: float = 0.5

    def __post_init__(self) -> None:
        low, high = WARPS
        strengths = (self.spectrum, self.shape, self.sounds)
        if not (all(0 <= value <= 1 for value in strengths) and low <= self.warp <= high):
            raise ValueError(f"A plan has strengths from 0 to 1 and a warp in {WARPS}: {self}")

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps({"version": VERSION, **asdict(self)}).encode()

    @staticmethod
    def from_bytes(content: bytes) -> "Plan":
        """What `to_bytes` made.

        Raises:
            InputError: If it is damaged or of another version.
        """
        try:
            values = json.loads(content)
            version = values.pop("version")
            plan = Plan(**{name: float(value) for name, value in values.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError("This plan for a voice is damaged. Tune it again.") from error
        if version != VERSION:
            raise InputError("This plan for a voice is of another version. Tune it again.")
        return plan


class Matcher:
    """Moves speech of one voice towards another voice.

    Holds nothing but the map, so any number of threads may use it.

    Args:
        source: The voice that will be given.
        target: The voice to move towards.
        plan: How far.
    """

    def __init__(self, source: Timbre, target: Timbre, plan: Plan = Plan()) -> None:
        self._source, self._target, self._plan = source, target, plan
        known = centres() <= min(source.bandwidth, target.bandwidth)
        # Linear, so the statistics of stretched speech need no stretched speech.
        stretch = level_free(warped(centres(), plan.warp))
        covariance = stretch.T @ source.covariance @ stretch
        self._shapes = _Shapes(source.voiced @ stretch, covariance, target, known, plan)
        step = _smooth(target.unvoiced - source.unvoiced @ stretch, known)
        self._unvoiced = plan.spectrum * _held(step, known)
        self._from = np.clip(unwarped(np.linspace(0, RATE / 2, BINS), plan.warp), 0, RATE / 2)

    def match(self, audio: Audio) -> Audio:
        """Move a clause.

        Args:
            audio: Any rate and length; whole clauses sound best.

        Returns:
            As many samples at the same rate, at the same level (softer where it would
            clip), with soft ends; digital silence stays as it is.
        """
        return audio if _silent(audio) else self.moved(analyse(audio), audio)

    def moved(self, given: Voiceprint, audio: Audio) -> Audio:
        """Move a clause that was taken apart: `given` is what `analyse` finds in `audio`."""
        made = synthesize(
            Voiceprint(self._pitch(given.pitch), self._envelope(given), given.breath),
            round(len(audio) * RATE / audio.rate),
        ).resampled(audio.rate)
        return _finished(made, audio)

    def _pitch(self, pitch: Bands) -> Bands:
        source, target = self._source, self._target
        ratio = np.clip(target.spread / source.spread, LEAST_LIVELINESS, MOST_LIVELINESS)
        logs = np.log(np.where(pitch > 0, pitch, 1.0))
        moved = np.exp(target.pitch + ratio * (logs - source.pitch))
        return np.where(pitch > 0, moved, 0.0)

    def _envelope(self, given: Voiceprint) -> Bands:
        envelope = given.envelope
        if self._plan.warp != 1:
            envelope = self._warped(envelope)
        spectrum = level_free(to_bands(envelope))
        voicing = _smoothed(given.voiced.astype(float)[:, None])
        gains = voicing * self._shapes.gains(spectrum) + (1 - voicing) * self._unvoiced
        gains = _smoothed(MOST_GAIN * np.tanh(gains / MOST_GAIN))
        moved: Bands = np.maximum(envelope * 10 ** (to_bins(gains) / 10), LEAST_POWER)
        return moved

    def _warped(self, envelope: Bands) -> Bands:
        at = self._from / (RATE / 2) * (BINS - 1)
        below = np.minimum(at.astype(int), BINS - 2)
        part = at - below
        logs = np.log(envelope)
        found: Bands = np.exp(logs[:, below] * (1 - part) + logs[:, below + 1] * part)
        return found


class _Shapes:
    """The map from one voice's voiced spectra to another's.

    Both are taken for Gaussian; of all maps between two Gaussians this is the one that
    moves the spectra least ("Wasserstein" or Monge map; Gelbrich 1990), so that every
    vowel stays as near to itself as the other voice allows. What is left of a difference
    between it and the most alike sounds of the other voice is then made good, as in
    "Voice conversion with just nearest neighbors" (Baas et al., 2023), but on spectra.
    """

    def __init__(
        self, mean: Bands, covariance: Bands, target: Timbre, known: Mask, plan: Plan
    ) -> None:
        self._known = known
        self._basis = _cosines(int(known.sum()))
        self._mean = mean[known]
        # Of the mean, more detail is certain than of how it varies.
        self._step = plan.spectrum * _smooth(target.voiced - mean, known)[known]
        source = _projected(covariance, known, self._basis)
        wanted = _projected(target.covariance, known, self._basis)
        self._turn = plan.shape * (_monge(source, wanted) - np.eye(len(source)))
        self._share = plan.sounds
        self._sounds = target.sounds[:, known]
        coarse = self._basis[:, :COARSE]
        self._key = coarse / ((self._sounds @ coarse).std(axis=0) + LEAST_VARIANCE)
        self._sound_keys = self._sounds @ self._key
        self._length = np.square(self._sound_keys).sum(axis=1)

    def gains(self, spectrum: Bands) -> Bands:
        """What to add to spectra `[t, BANDS]`, dB."""
        given = spectrum[:, self._known]
        shape = (given - self._mean) @ self._basis
        gains = self._step + shape @ self._turn @ self._basis.T
        rest = self._nearest(given + gains) - given - gains
        return _held(gains + self._share * (rest @ self._basis @ self._basis.T), self._known)

    def _nearest(self, moved: Bands) -> Bands:
        """The mean of the target's sounds that are most like each of `[t, known]`."""
        keys = moved @ self._key
        # Squared distances but for what is the same for all sounds.
        distances = self._length - 2 * keys @ self._sound_keys.T
        count = min(NEIGHBOURS, len(self._sounds))
        chosen = np.argpartition(distances, count - 1, axis=1)[:, :count]
        found: Bands = self._sounds[chosen].mean(axis=1)
        return found


def _cosines(bands: int) -> Bands:
    """The first cosines over so many bands without the constant one, orthonormal `[bands, k]`."""
    at = (np.arange(bands) + 0.5)[:, None] / bands
    basis: Bands = np.sqrt(2 / bands) * np.cos(np.pi * at * np.arange(1, SHAPE))
    return basis


def _projected(covariance: Bands, known: Mask, basis: Bands) -> Bands:
    found: Bands = basis.T @ covariance[np.ix_(known, known)] @ basis
    found += LEAST_VARIANCE * np.eye(len(found))
    return found


def _monge(source: Bands, target: Bands) -> Bands:
    root = _root(source)
    inverse = np.linalg.inv(root)
    found: Bands = inverse @ _root(root @ target @ root) @ inverse
    return found


def _root(matrix: Bands) -> Bands:
    values, vectors = np.linalg.eigh(matrix)
    found: Bands = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return found


def _smooth(difference: Bands, known: Mask) -> Bands:
    """A difference of spectra, over the known bands, without its finest detail."""
    basis = _cosines(int(known.sum()))
    inside = difference[known]
    found = np.zeros(BANDS)
    found[known] = inside.mean() + basis @ (basis.T @ (inside - inside.mean()))
    return found


def _held(gains: Bands, known: Mask) -> Bands:
    """Gains of the known bands `[..., known]` or of all; the last known one goes on above."""
    last = int(np.flatnonzero(known)[-1])
    inside = gains[..., : last + 1]
    above = np.repeat(inside[..., -1:], BANDS - last - 1, axis=-1)
    return np.concatenate([inside, above], axis=-1)


def _smoothed(rows: Bands) -> Bands:
    """Rows `[t, n]` under a short window along t."""
    window = np.hanning(SMOOTHING + 2)[1:-1]
    window /= window.sum()
    reach = SMOOTHING // 2
    padded = np.pad(rows, ((reach, reach), (0, 0)), mode="edge")
    found: Bands = sum(weight * padded[at : at + len(rows)] for at, weight in enumerate(window))
    return found


def _silent(audio: Audio) -> bool:
    return level_db(audio.samples) <= SILENCE_DB


def _finished(made: Audio, given: Audio) -> Audio:
    """The level and length of what was given, soft ends."""
    samples = np.pad(made.samples, (0, max(0, len(given) - len(made))))[: len(given)].copy()
    edge = min(round(EDGE * given.rate), len(samples) // 2)
    ramp = np.linspace(0, 1, edge, endpoint=False, dtype=np.float32)
    samples[:edge] *= ramp
    samples[len(samples) - edge :] *= ramp[::-1]
    if _silent(Audio(samples, given.rate)):
        return Audio(samples, given.rate)
    gain = 10 ** ((level_db(given.samples) - level_db(samples)) / 20)
    gain = min(gain, PEAK / float(np.abs(samples).max()))
    return Audio(samples * np.float32(gain), given.rate)
