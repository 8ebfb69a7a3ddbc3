"""The embedded synthesizer: hibari, 24 kHz, one English voice, on onnxruntime.

Source: https://github.com/MMWilliams/hibari (Apache-2.0); the weights come
inside its package.
"""

from typing import Any

import numpy as np

from engines.base import Voice
from speech.pcm import Audio

#: hibari speaks at -26 dBFS RMS; this one constant brings every reply to about -20. The
#: loudest of the fifty sentences of the round-trip benchmark then peaks at -0.7 dBFS.
GAIN = 2.0


class Hibari:
    """A `Synthesizer`; holds no request, so any number of threads may call it."""

    rate = 24_000
    voices = (Voice("heart", "en", "American English, female (hibari)"),)

    def __init__(self) -> None:
        from hibari import Hibari as Model  # noqa: PLC0415

        self._model: Any = Model(threads=1)
        # The first call builds the lexicon and the graph's buffers (0.6 s).
        self.synthesize("Warm up.", "heart", np.random.default_rng(0))

    def synthesize(self, clause: str, voice: str, random: np.random.Generator) -> Audio:
        """Speak one clause; see `Synthesizer`.

        The noise part of the speech is drawn from `random`.
        """
        # hibari hands `seed` to numpy's default_rng, which takes a generator as it is.
        samples = self._model(clause, seed=random)
        return Audio(np.clip(samples * GAIN, -1.0, 1.0).astype(np.float32), self.rate)
