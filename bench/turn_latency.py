"""How long after a spoken question does the answer begin to sound?

    python -m bench.turn_latency [--turns 20]

Both columns run the same loaded models on the same questions, turn by turn in
alternation, so that a noisy machine disturbs them alike:

- *sequential*: recognize all, answer all, synthesize all, then play;
- *Parley*: the request as the page makes it, through services, holder, queues
  and the concurrent cascade.

The app's own overhead is measured apart, with models that answer at once: what
remains is threads, queues, holder, turnstile and events.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines.base import Cancel
from engines.cascade import embedded
from engines.cascade.answering import SPOKEN_PROMPT
from engines.cascade.hibari import Hibari
from engines.cascade.parts import Prompt, Recognized
from engines.catalog import CATALOG
from engines.messages import AudioChunk, Conversation, Finished, Sampling, Turn, Usage
from model_spec import ModelSpec
from services import Services
from settings import Settings
from speech.pcm import Audio
from weights import Store

#: Chosen because the default chat model answers most of them in 30-60 tokens; the table
#: says how long the answers of a run were.
QUESTIONS = (
    "Can you explain what gravity is?",
    "How can I save water at home?",
    "How do I make a good cup of tea?",
    "How does soap clean our hands?",
    "Tell me about penguins.",
    "What is the purpose of a leap year?",
    "Explain how a rocket reaches space.",
    "How can I fall asleep more easily?",
    "How do I take care of a house plant?",
    "Tell me about the Great Wall of China.",
    "Tell me something about the planet Saturn.",
    "What is photosynthesis and why does it matter?",
    "What is the difference between weather and climate?",
    "What makes a good public speaker?",
    "What should I see on a first visit to Paris?",
    "Why are forests important for the planet?",
    "Why do leaves change color in autumn?",
    "What are some good books for a long journey?",
    "Why should I learn a second language?",
    "What are the benefits of walking every day?",
)
#: The longest answers are cut here, in both columns.
SAMPLING = Sampling(temperature=0.0, max_tokens=60)
#: Instructions as long as Parley's, but other: neither column finds the other's prompts cached.
APART_PROMPT = SPOKEN_PROMPT.replace("friendly", "helpful")
WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """One turn: seconds to the first speech, to its end, and tokens of the answer."""

    first: float
    total: float
    tokens: int = 0


def sequential(services: Services, audio: Audio) -> Measured:
    """Recognize all, answer all, synthesize all."""
    names = (embedded.MOONSHINE, embedded.CHAT, embedded.HIBARI)
    with services.models.use(*names, cancel=Cancel()) as (recognizer, chat, synthesizer):
        began = time.perf_counter()
        question = recognizer.recognize(audio).text
        pieces: list[str] = []
        prompts = (Prompt("system", APART_PROMPT), Prompt("user", question))
        usage = chat.reply(prompts, SAMPLING, pieces.append, Cancel())
        synthesizer.synthesize("".join(pieces), "heart", np.random.default_rng(0))
        took = time.perf_counter() - began
    return Measured(took, took, usage.reply_tokens)


def parley(services: Services, audio: Audio) -> Measured:
    """The request as the page makes it."""
    began = time.perf_counter()
    first, tokens = 0.0, 0
    events = services.converse(
        Turn(audio), Conversation(), sampling=SAMPLING, language="en", cancel=Cancel()
    )
    for event in events:
        if isinstance(event, AudioChunk) and not first:
            first = time.perf_counter() - began
        if isinstance(event, Finished):
            tokens = event.usage.reply_tokens
    return Measured(first, time.perf_counter() - began, tokens)


class _Instant:
    """Models that answer at once, with as many tokens and clauses as a real reply."""

    rate = Hibari.rate
    voices = Hibari.voices
    _speech = Audio(np.full(Hibari.rate, 0.1, np.float32), Hibari.rate)

    def recognize(self, audio: Audio, language: str | None = None) -> Recognized:
        return Recognized("Why?", (), "en")

    def reply(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        put: Callable[[str], None],
        cancel: Cancel,
    ) -> Usage:
        for number in range(SAMPLING.max_tokens):
            put(". Because" if number % 15 == 14 else " word")
        return Usage(reply_tokens=SAMPLING.max_tokens)

    def synthesize(self, clause: str, voice: str, random: np.random.Generator) -> Audio:
        return self._speech


def overhead(settings: Settings, audio: Audio, turns: int) -> list[float]:
    """Seconds of a turn whose models take no time."""

    def specs(settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
        names = (embedded.MOONSHINE, embedded.CHAT, embedded.HIBARI)
        return tuple(ModelSpec(name, name, "cpu", 0, lambda report: _Instant()) for name in names)

    entry = replace(CATALOG[0], specs=specs)
    with Services(settings, [entry]) as services:
        took = [parley(services, audio).total for _ in range(turns + WARM_UPS)]
    return took[WARM_UPS:]


def spread(values: list[float]) -> str:
    """Median and 95th percentile, seconds."""
    return f"{statistics.median(values):6.3f} | {np.quantile(values, 0.95):6.3f}"


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=len(QUESTIONS))
    turns = parser.parse_args().turns
    settings = Settings(warm=False)
    with Services(settings) as services:
        voice = Hibari()
        random = np.random.default_rng(0)
        clips = [
            voice.synthesize(text, "heart", random).resampled(16_000)
            for text in (QUESTIONS[turn % len(QUESTIONS)] for turn in range(turns))
        ]
        runs = (sequential, parley)
        for run in runs:
            run(services, clips[0])
        results = [[run(services, clip) for run in runs] for clip in clips]
    apart, ours = ([pair[column] for pair in results] for column in (0, 1))
    own = overhead(settings, clips[0], turns)

    first, first_apart = [r.first for r in ours], [r.first for r in apart]
    total_apart = statistics.median(r.total for r in apart)
    for title, column in (("sequential", apart), ("Parley", ours)):
        tokens = [result.tokens for result in column]
        print(
            f"{turns} spoken questions, {title}: answers of {min(tokens)}-{max(tokens)} tokens, "
            f"median {statistics.median(tokens):.0f}"
        )
    print("seconds from the end of the question | p50    | p95")
    print(f"  sequential, first sound            | {spread(first_apart)}")
    print(f"  Parley, first sound                | {spread(first)}")
    print(f"  Parley, whole answer               | {spread([r.total for r in ours])}")
    print(f"  overhead alone, whole answer       | {spread(own)}")
    ratio = statistics.median(first) / statistics.median(first_apart)
    print(f"first sound, ratio to sequential: {ratio:.2f} (target 0.45)")
    share = statistics.median(own) / total_apart
    print(f"overhead, share of the bare parts: {share:.1%} (target under 5 %)")


if __name__ == "__main__":
    main()
