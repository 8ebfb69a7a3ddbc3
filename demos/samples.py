"""Three worked examples for each task, one press each."""

from dataclasses import dataclass
from pathlib import Path

from engines.base import Task

#: Clips of the project's own making (`assets/make_samples.py`).
FOLDER = Path(__file__).parent.parent / "assets" / "samples"


@dataclass(frozen=True, slots=True)
class Sample:
    """An example: what its chip says, and what is asked."""

    label: str
    clip: str | None = None
    text: str = ""


def _clip(name: str) -> str:
    return str(FOLDER / f"{name}.wav")


SAMPLES: dict[Task, tuple[Sample, Sample, Sample]] = {
    "sqa": (
        Sample("Why is the sky blue?", clip=_clip("sky")),
        Sample("How do bees make honey?", clip=_clip("bees")),
        Sample("Plan me a rainy Sunday", clip=_clip("sunday")),
    ),
    "asr": (
        Sample("A weather report", clip=_clip("weather")),
        Sample("Numbers and names", clip=_clip("numbers")),
        Sample("A short story", clip=_clip("story")),
    ),
    "tts": (
        Sample(
            "A greeting",
            text="Good morning! Parley turns this text into speech while you listen.",
        ),
        Sample(
            "Numbers and signs",
            text="On 3 May 2026, 1,250 people paid $9.99 each; that is 12% more than in 2025.",
        ),
        Sample(
            "Formulas",
            text="If x² + y² = 25 and x = 3, then y = ±4, because √16 = 4.",
        ),
    ),
    "text": (
        Sample("Explain a word", text="What does 'prosody' mean? One sentence, please."),
        Sample(
            "Compare",
            text="In two sentences: how do a cascade and an end-to-end speech model differ?",
        ),
        Sample("Rewrite", text="Rewrite politely: send me the file now."),
    ),
}
