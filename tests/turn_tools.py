"""Signals for the tests of turns, and their events as values."""

import numpy as np

from live.turns import Paused, TurnDetector, TurnEnded, TurnSettings
from speech.pcm import Audio
from speech.vad import FRAME

#: A pause of whole frames: times below are exact.
SEMANTIC = TurnSettings(pause=0.1)
SERVER = TurnSettings(kind="server_vad", pause=0.1)
MANUAL = TurnSettings(kind=None)


class Script:
    """A VAD that takes a frame for speech if its first sample is 1."""

    def probabilities(self, samples):
        return samples.reshape(-1, FRAME)[:, 0].astype(np.float32)


def script(*frames):
    """Frames of silence, of speech, of silence, ..."""
    values = np.concatenate([np.full(n, i % 2, np.float32) for i, n in enumerate(frames)])
    return np.repeat(values, FRAME)


def scripted(turn_settings=SEMANTIC):
    return TurnDetector(turn_settings, Script())


def run(detector, samples, chunk=320, answer=None, late=0):
    """Push in chunks; `answer` judges every pause, `late` samples after it."""
    events, due = [], []
    for start in range(0, len(samples), chunk):
        new = detector.push(samples[start : start + chunk])
        if answer:
            due += [(e.at + late, e, answer(e)) for e in new if isinstance(e, Paused)]
        events += new
        while due and due[0][0] <= detector.received:
            _, paused, probability = due.pop(0)
            events += detector.judge(paused, probability)
    return events


def shape(events):
    """Kinds and times in frames."""
    return [(type(event).__name__, event.at / FRAME) for event in events]


def plain(events):
    """Events as values that compare."""
    return [
        tuple(v.samples.tobytes() if isinstance(v, Audio) else v for v in values)
        for values in (
            (type(e), *(getattr(e, name) for name in e.__dataclass_fields__)) for e in events
        )
    ]


def ends(events):
    return [event for event in events if isinstance(event, TurnEnded)]
