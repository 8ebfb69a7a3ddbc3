"""How long after the last word does a live conversation answer, over a real WebSocket?

    python -m bench.live_latency [--turns 20] [--cold 3]

Two servers, each a process of its own, hold the same conversation turn by turn
in alternation, so that a noisy machine disturbs them alike:

- *Parley*, as it is started by `make run`;
- *off*: the same with streaming, speculation and Smart Turn off. The turn ends
  after half a second of silence, only then is it recognized, and the whole
  answer is made before its first sample is sent.

The caller is the official `openai` client. Questions (in another voice than the
replies) are cut after their last sample above 0.02 and sent in real time in
frames of 20 ms, then silence. Two turns of warm-up. Times are milliseconds
after the last sample of speech was sent; audible is the first sample of the
reply above 0.02, where it lies on the listener's time line.

A cold start is a fresh server that is asked its first question as soon as its
models are ready, which is what the page shows as ready.
"""

import argparse
import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import allocator
from bench.caller import RATE, Caller, call
from bench.turn_latency import QUESTIONS
from engines.base import Cancel
from engines.cascade.hibari import Hibari
from engines.messages import AudioChunk, Event
from services import Services
from settings import Settings
from speech.pcm import Audio, concatenate

AUDIBLE = 0.02
#: The questions are played at this speed, which makes another voice of hibari's.
VOICE_SHIFT = 0.86
MOST_TOKENS = 60
WARM_UPS = 2
#: After a reply has been heard, seconds.
REST = 0.5
#: How long a server may take until its models are ready, seconds.
STARTING = 180


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: ms to the first audio, to the first audible sample, and the server's marks."""

    first: float
    audible: float
    marks: dict[str, float]


class Whole(Services):
    """Makes the whole answer, then gives it."""

    def converse(self, *given: Any, **named: Any) -> Iterator[Event]:
        """See `Services.converse`."""
        events = list(super().converse(*given, **named))
        chunks = [event for event in events if isinstance(event, AudioChunk)]
        yield from (event for event in events if not isinstance(event, AudioChunk))
        if chunks:
            text = " ".join(chunk.text for chunk in chunks)
            yield AudioChunk(concatenate([chunk.audio for chunk in chunks]), text)


def serve(kind: str) -> None:
    """Be a server until the input ends; say where, once the models are ready."""
    allocator.settle()
    from demos.page import launch  # noqa: PLC0415

    off = kind == "off"
    settings = Settings(port=0, temperature=0.0, live_speculation=not off)
    with (Whole if off else Services)(settings) as services:
        page = launch(services, block=False)
        with services.models.use(*services.engine().models("sqa", "en"), cancel=Cancel()):
            print(f"ready {page.local_url}", flush=True)
        sys.stdin.read()
        page.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A server whose models are ready."""

    address: str
    pid: int


@contextmanager
def server(kind: str) -> Iterator[Server]:
    """A fresh server whose models are ready, until the context is left."""
    command = [sys.executable, "-m", "bench.live_latency", "--serve", kind]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if ready := re.match(r"ready (\S+)", line):
                yield Server(ready[1], process.pid)
                return
        raise RuntimeError(f"the server {kind!r} did not start")
    finally:
        process.terminate()
        process.wait()


def questions() -> list[Audio]:
    """The questions as they are spoken."""
    hibari, random = Hibari(), np.random.default_rng(0)
    spoken = [hibari.synthesize(text, hibari.voices[0].name, random) for text in QUESTIONS]
    return [replace(audio, rate=round(audio.rate * VOICE_SHIFT)) for audio in spoken]


async def ask(caller: Caller, question: Audio) -> Turn:
    """Ask; returns when the reply has been heard."""
    deltas, replies = (
        len(caller.of(kind)) for kind in ("response.output_audio.delta", "response.done")
    )
    caller.say(question)
    ended = await caller.said()
    delta = await caller.wait("response.output_audio.delta", deltas + 1, STARTING)
    await caller.wait("response.done", replies + 1, STARTING)
    reply = np.concatenate(caller.sound[deltas:])
    loud = np.flatnonzero(np.abs(reply.astype(np.int32)) > AUDIBLE * 32768)
    first = (delta.received - ended) * 1000
    while caller.of("parley.state")[-1].state != "listening":
        await asyncio.sleep(0.05)
    await asyncio.sleep(REST)
    marks = caller.of("parley.timings")[-1].marks
    return Turn(first, first + loud[0] / RATE * 1000, marks)


async def converse(addresses: dict[str, str], spoken: Sequence[Audio]) -> list[list[Turn]]:
    """The same conversation with each kind of server, turn by turn in alternation."""
    taken: list[list[Turn]] = [[] for _ in addresses]
    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(call(url)) for url in addresses.values()]
        for caller, kind in zip(callers, addresses, strict=True):
            session: dict[str, Any] = {"type": "realtime", "max_output_tokens": MOST_TOKENS}
            if kind == "off":
                session["audio"] = {"input": {"turn_detection": {"type": "server_vad"}}}
            await caller.send(type="session.update", session=session)
        for number, question in enumerate(spoken):
            for caller, turns_taken in zip(callers, taken, strict=True):
                turns_taken.append(await ask(caller, question))
                print(f"{number:3} {turns_taken[-1]}", file=sys.stderr, flush=True)
    return taken


def table(name: str, taken: Sequence[Turn]) -> None:
    """Print a row."""
    figures = [
        np.percentile([getattr(turn, field) for turn in taken], p)
        for field in ("first", "audible")
        for p in (50, 95)
    ]
    print(f"| {name} | {figures[0]:.0f} / {figures[1]:.0f} | {figures[2]:.0f} / {figures[3]:.0f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=len(QUESTIONS))
    parser.add_argument("--cold", type=int, default=3)
    parser.add_argument("--serve", choices=("parley", "off"), help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help="without the comparison")
    options = parser.parse_args()
    if options.serve:
        with contextlib.suppress(KeyboardInterrupt):
            serve(options.serve)
        return
    spoken = questions()
    cold = []
    for _ in range(options.cold):
        began = time.perf_counter()
        with server("parley") as fresh:
            ready = time.perf_counter() - began
            cold += asyncio.run(converse({"parley": fresh.address}, spoken[:1]))[0]
            print(f"cold: ready after {ready:.1f} s, audible after {cold[-1].audible:.0f} ms")
    asked = [*spoken[:WARM_UPS], *spoken[: options.turns]]
    kinds = ["parley"] if options.alone else ["parley", "off"]
    with contextlib.ExitStack() as stack:
        addresses = {kind: stack.enter_context(server(kind)).address for kind in kinds}
        taken = [turns_[WARM_UPS:] for turns_ in asyncio.run(converse(addresses, asked))]
    print(
        "\n| ms after the last sample | first audio p50 / p95 | audible p50 / p95 |\n|---|---|---|"
    )
    for kind, column in zip(kinds, taken, strict=True):
        table(kind, column)
    if cold:
        table("cold start", cold)
    names = list(taken[0][0].marks)
    medians = {
        name: np.median([turn.marks[name] for turn in taken[0] if name in turn.marks])
        for name in names
    }
    print("marks, p50:", ", ".join(f"{name} {value:.0f}" for name, value in medians.items()))
    if len(taken) > 1:
        ratio = np.median([turn.audible for turn in taken[1]]) / np.median(
            [turn.audible for turn in taken[0]]
        )
        print(f"{ratio:.2f} times as soon as with everything off")


if __name__ == "__main__":
    main()
