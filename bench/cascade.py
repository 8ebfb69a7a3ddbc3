"""Does it pay that a cascade works on all its parts at once, and what does HTTP cost?

    python -m bench.cascade [--questions 6] [--clients 1 2 4 8]

Typed questions that ask for five sentences, two ways at a time, question by question in
alternation, so that a noisy machine disturbs both alike:

- *sequential*, write all, synthesize all, then play, against *concurrent*, the embedded
  engine as the page uses it; the same loaded models;
- *embedded* against *over HTTP*, the same with its chat model behind llama.cpp's own server.
  That model is loaded a second time: with one for both, each would push what the other has
  read out of its cache.

Then several clients at once: each must get its own words. Last, what HTTP costs without any
model: the time to the first token of servers that answer at once.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.instant_server import serving
from engines.base import Cancel
from engines.cascade import embedded
from engines.cascade.answering import SPOKEN_PROMPT
from engines.cascade.kit import ChatPart
from engines.cascade.llama import Llama
from engines.cascade.parts import Prompt
from engines.catalog import CATALOG, CHAT_MODELS, RECOGNIZERS, SYNTHESIZERS, cascade
from engines.messages import AudioChunk, Conversation, Finished, Sampling, TextDelta, Turn, Usage
from engines.remote.address import Remote
from engines.remote.chat import RemoteChat
from model_spec import LoadReport, ModelSpec
from services import Services
from settings import Settings
from weights import Store

#: One thing each, so that an answer shows whose it is.
THINGS = ("penguins", "gravity", "Saturn", "bicycles", "volcanoes", "coffee", "glaciers", "violins")
SAMPLING = Sampling(temperature=0.0, max_tokens=110)
CLIENT_SAMPLING = replace(SAMPLING, max_tokens=40)
#: Of one length, and other words: on the same model no way finds the prompts of another in
#: the cache. Over HTTP it is another model, and the same words are to come.
STYLES = {"sequential": "helpful", "concurrent": "friendly"}
#: What is to come of it: concurrent first sound over sequential, and milliseconds of HTTP.
MOST_RATIO, MOST_MS = 0.4, 15.0
TRIES = 60


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer: seconds to its first token, first sound and end; its words."""

    token: float
    first: float
    total: float
    text: str
    tokens: int


def system(column: str) -> str:
    """The instructions of one way."""
    told = SPOKEN_PROMPT.replace("friendly", STYLES[column])
    return told.replace("one to three short spoken sentences", "exactly five spoken sentences")


def question(thing: str) -> str:
    """What is asked about a thing."""
    return f"Tell me about {thing} in five sentences."


def sequential(services: Services, thing: str) -> Measured:
    """Write all, synthesize all."""
    with services.models.use(embedded.CHAT, embedded.HIBARI, cancel=Cancel()) as (chat, voice):
        began = time.perf_counter()
        pieces: list[str] = []
        prompts = (Prompt("system", system("sequential")), Prompt("user", question(thing)))
        usage = chat.reply(prompts, SAMPLING, pieces.append, Cancel())
        text = "".join(pieces)
        voice.synthesize(text, "heart", np.random.default_rng(0))
        took = time.perf_counter() - began
    return Measured(took, took, took, text, usage.reply_tokens)


def ask(
    services: Services, engine: str, column: str, thing: str, sampling: Sampling = SAMPLING
) -> Measured:
    """One question through the services, as the page asks it."""
    began = time.perf_counter()
    token = first = 0.0
    text, tokens = "", 0
    events = services.converse(
        Turn(text=question(thing)),
        Conversation(system(column)),
        engine=engine,
        sampling=sampling,
        cancel=Cancel(),
    )
    for event in events:
        now = time.perf_counter() - began
        match event:
            case TextDelta():
                token = token or now
                text += event.text
            case AudioChunk():
                first = first or now
            case Finished():
                tokens = event.usage.reply_tokens
    return Measured(token, first, time.perf_counter() - began, text, tokens)


class _BehindHTTP(RemoteChat):
    """A chat model, asked through its own server."""

    def __init__(self, chat: Llama) -> None:
        super().__init__(chat.over_http)
        self._chat = chat


def _chat_over_http(settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
    (own,) = CHAT_MODELS["embedded"].specs(settings, store)

    def load(report: LoadReport) -> _BehindHTTP:
        return _BehindHTTP(own.load(report))

    return (replace(own, name="chat over http", title="Chat model over HTTP", load=load),)


#: The embedded engine with its chat model, loaded once more, behind llama.cpp's own server.
OVER_HTTP = cascade(
    "http",
    "Over HTTP",
    RECOGNIZERS["embedded"],
    ChatPart("chat over http", _chat_over_http),
    SYNTHESIZERS["embedded"],
    licence="as the embedded engine",
    needs="as the embedded engine",
    notes="",
)


def at_once(services: Services, engine: str, column: str, count: int) -> list[Measured]:
    """So many clients ask at the same moment, each about a thing of its own."""
    answers: dict[str, Measured] = {}
    gate = threading.Barrier(count)

    def client(thing: str) -> None:
        gate.wait()
        answers[thing] = ask(services, engine, column, thing, CLIENT_SAMPLING)

    threads = [threading.Thread(target=client, args=[thing]) for thing in THINGS[:count]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for thing, answer in answers.items():
        own = thing.rstrip("s").lower() in answer.text.lower()
        others = [t for t in THINGS if t != thing and t.rstrip("s").lower() in answer.text.lower()]
        if not own or others:
            raise SystemExit(f"The client who asked about {thing} got: {answer.text}")
    return list(answers.values())


class _Instant:
    """A chat model that answers at once."""

    def reply(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        put: Callable[[str], None],
        cancel: Cancel,
    ) -> Usage:
        put("Yes.")
        return Usage()


def cost_of_http() -> list[float]:
    """Milliseconds to the first token of a server that answers at once, over none."""
    prompts = (Prompt("user", "Hello."),)

    def first(chat: _Instant | RemoteChat) -> float:
        began, came = time.perf_counter(), list[float]()
        chat.reply(prompts, SAMPLING, lambda _: came.append(time.perf_counter() - began), Cancel())
        return came[0] * 1000

    with serving() as url:
        chat = RemoteChat(Remote((url,)), "m")
        first(chat)
        costs = [first(chat) - first(_Instant()) for _ in range(TRIES)]
        chat.close()
    return costs


def median(values: list[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def pairs(
    questions: int, runs: dict[str, Callable[[str], Measured]]
) -> list[tuple[Measured, Measured]]:
    """Two ways in alternation, printed; what came of each question."""
    for run in runs.values():
        run("the weather")
    one, other = runs.values()
    results = [(one(thing), other(thing)) for thing in THINGS[:questions]]
    for name, of in zip(runs, zip(*results, strict=True), strict=True):
        print(
            f"  {name:10} | {median([m.token for m in of]):11.3f} "
            f"| {median([m.first for m in of]):11.3f} | {median([m.total for m in of]):6.3f} "
            f"| {min(m.tokens for m in of)}-{max(m.tokens for m in of)}"
        )
    return results


def columns(services: Services, questions: int) -> None:
    """Sequential against concurrent, embedded against over HTTP."""

    def concurrent(thing: str) -> Measured:
        return ask(services, "embedded", "concurrent", thing)

    print(f"{questions} questions, s | first token | first sound | all | tokens")
    found = pairs(
        questions,
        {"sequential": lambda thing: sequential(services, thing), "concurrent": concurrent},
    )
    before, after = (median([way.first for way in ways]) for ways in zip(*found, strict=True))
    print(f"first sound, concurrent over sequential: {after / before:.2f} (at most {MOST_RATIO})")
    found = pairs(
        questions,
        {
            "embedded": concurrent,
            "over HTTP": lambda thing: ask(services, "http", "concurrent", thing),
        },
    )
    added = [1000 * (http.first - own.first) for own, http in found]
    alike = sum(own.text == http.text for own, http in found)
    print(
        f"first sound, HTTP over embedded, median of pairs: {median(added):+.0f} ms "
        f"(at most {MOST_MS:.0f}); {alike} of {len(found)} answers were the same"
    )


def crowd(services: Services, counts: list[int]) -> None:
    """Several clients at once; ends the program if one gets the words of another."""
    print("clients at once | engine | first sound p50, s | worst | all p50")
    for count in counts:
        for engine in ("embedded", "http"):
            answers = at_once(services, engine, "concurrent", count)
            firsts = [answer.first for answer in answers]
            print(
                f"  {count} | {engine:8} | {median(firsts):6.2f} | {max(firsts):6.2f} "
                f"| {median([answer.total for answer in answers]):6.2f}"
            )
    print("each got its own words")


def main() -> None:
    """Run the benchmark and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=6)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 2, 4, 8])
    given = parser.parse_args()
    costs = cost_of_http()
    settings = Settings(warm=False, max_active=len(THINGS))
    with Services(settings, [CATALOG[0], OVER_HTTP]) as services:
        columns(services, given.questions)
        crowd(services, given.clients)
    print(
        f"HTTP alone, to the first token: {median(costs):.1f} ms, "
        f"95 % below {np.quantile(costs, 0.95):.1f} (at most {MOST_MS:.0f})"
    )


if __name__ == "__main__":
    main()
