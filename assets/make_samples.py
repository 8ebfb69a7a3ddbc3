"""Makes the sample clips of the examples: `python assets/make_samples.py`.

They are the project's own: our sentences, spoken by the embedded synthesizer
(hibari, Apache-2.0), so that nobody's voice is in the repository.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from engines.cascade.hibari import Hibari
from speech.files import write_wav
from speech.pcm import concatenate, silence

FOLDER = Path(__file__).parent / "samples"
#: What recognizers hear; keeps the clips small.
RATE = 16_000
#: As between sentences read aloud, seconds.
PAUSE = 0.3

TEXTS = {
    "sky": ["Why is the sky blue?"],
    "bees": ["How do bees make honey?"],
    "sunday": ["What could I do with two children on a rainy Sunday afternoon?"],
    "weather": [
        "Good evening. Tomorrow begins with fog in the valleys and sunshine on the hills.",
        "In the afternoon, clouds move in from the west, and by night it will rain.",
    ],
    "numbers": [
        "The meeting with Doctor Alice Morgan is on the twenty third of May at half past nine.",
        "Please bring four copies of the report and the invoice over one thousand two hundred "
        "dollars.",
    ],
    "story": [
        "A traveller came to a village where nobody had spoken for a hundred years.",
        "She sat down by the well and began to sing.",
        "First a child listened, then a baker, and before the sun had set, the whole village "
        "was arguing about the second verse.",
    ],
}


def main() -> None:
    """Write every clip."""
    voice = Hibari()
    FOLDER.mkdir(exist_ok=True)
    for name, sentences in TEXTS.items():
        random = np.random.default_rng(0)
        parts = [silence(PAUSE, voice.rate)]
        for sentence in sentences:
            parts += [voice.synthesize(sentence, "heart", random), silence(PAUSE, voice.rate)]
        write_wav(FOLDER / f"{name}.wav", concatenate(parts).resampled(RATE))


if __name__ == "__main__":
    main()
