"""How far to move one voice towards another: tried out, and measured.

Once for each reference, a few plans are tried on sentences of the synthesizer, and the
speaker encoder says which comes nearest. The sentences that people hear later take no part.
"""

from collections.abc import Callable
from dataclasses import replace

from speech.matching import Matcher, Plan
from speech.pcm import Audio
from speech.speaker import Embedding, SpeakerEncoder, similarity
from speech.timbre import Timbre
from speech.world import analyse

#: What a synthesizer says for its own timbre and for tuning; together they hold all sounds of
#: English.
CALIBRATION = (
    "Good morning, here is the weather for the whole of this long weekend.",
    "Which of these five old chairs would you rather have in your kitchen?",
    "They enjoy the choice of a fine view, a pleasant garden and fresh air.",
    "Most young people usually pay with cash for tea, cheese and thick bread.",
    "How could anyone measure the joy of singing aloud under an open sky?",
    "We always hear a loud noise when the new engine begins to work.",
)

#: What is tried, one after the other, each with the best of those before.
GRID: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("warp", (0.82, 0.88, 0.94, 1.06, 1.13, 1.22)),
    ("spectrum", (0.5,)),
    ("shape", (0.5,)),
    ("sounds", (0.0,)),
)
#: Speech that is moved and measured for each plan, seconds.
TRIAL = 12.0
#: Similarity that a change must bring to be made.
LEAST_GAIN = 0.005


def tune(
    speech: Audio,
    source: Timbre,
    target: Timbre,
    reference: Embedding,
    encoder: SpeakerEncoder,
    check: Callable[[], None] = lambda: None,
) -> Plan:
    """The plan that brings a voice nearest to a reference.

    Args:
        speech: Some seconds of the voice that is to be moved (`CALIBRATION`).
        source: Its timbre.
        target: The timbre of the reference.
        reference: The embedding of the reference.
        encoder: Measures how near it comes.
        check: Called before each trial; what it raises ends the work.

    Returns:
        The best of the plans tried.

    Raises:
        InputError: If there is too little speech in `speech`.
    """
    speech = Audio(speech.samples[: round(TRIAL * speech.rate)], speech.rate)
    given = analyse(speech)

    def nearness(plan: Plan) -> float:
        check()
        made = Matcher(source, target, plan).moved(given, speech)
        return similarity(encoder.embed(made), reference)

    plan = Plan()
    best = nearness(plan)
    for name, values in GRID:
        for trial in [replace(plan, **{name: value}) for value in values]:
            found = nearness(trial)
            if found > best + LEAST_GAIN:
                plan, best = trial, found
    return plan
