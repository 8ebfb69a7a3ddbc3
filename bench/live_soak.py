"""Four conversations at once for twenty minutes, over real WebSockets.

    python -m bench.live_soak [--minutes 20] [--sessions 4]

Each caller speaks its own questions in real time, waits for the answer to be
heard and asks on; every seventh answer is interrupted by the next question.
A caller has a microphone that is always open and a loudspeaker that plays what
came as soon as it came. Looked at, and printed:

- turns: every question has one transcript, its own (so nothing was crossed),
  and one answer; an answer without a sound is told with how it came about;
- audio: the samples of an answer are all there and come in order; an underrun
  is a moment at which the loudspeaker had nothing left in mid-answer. They are
  counted apart where the engine made speech slower than it is played;
- memory of the server, from two minutes on.
"""

import argparse
import asyncio
import difflib
import itertools
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from bench.caller import RATE, Caller, call
from bench.live_latency import MOST_TOKENS, questions, server
from bench.turn_latency import QUESTIONS
from speech.pcm import Audio

#: One of so many answers is interrupted.
INTERRUPTED = 7
#: A transcript that is less like the question was crossed or lost.
ALIKE = 0.6
#: How long an answer may take to begin, seconds: four may be waiting on two cores.
PATIENCE = 120.0
#: What the loudspeaker holds before it starts, seconds.
HELD = 0.1
#: Memory is flat from here on, seconds.
SETTLED = 120.0


@dataclass
class Report:
    """What one caller saw."""

    asked: int = 0
    answered: int = 0
    interrupted: int = 0
    misheard: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    underruns: list[str] = field(default_factory=list)
    slow: int = 0
    first: list[float] = field(default_factory=list)


async def hold(
    caller: Caller, order: Sequence[int], spoken: Sequence[Audio], until: float
) -> Report:
    """Converse until the clock says `until`."""
    report = Report()
    for number, which in enumerate(itertools.cycle(order)):
        if time.perf_counter() > until:
            return report
        transcripts = len(caller.of("conversation.item.input_audio_transcription.completed"))
        created = len(caller.of("response.created"))
        caller.say(spoken[which])
        ended = await caller.said()
        report.asked += 1
        await caller.wait("response.created", created + 1, PATIENCE)
        heard = await caller.wait(
            "conversation.item.input_audio_transcription.completed", transcripts + 1, PATIENCE
        )
        if _unlike(heard.transcript, QUESTIONS[which]):
            report.misheard.append(f"{heard.transcript!r} for {QUESTIONS[which]!r}")
        response = caller.of("response.created")[created].response.id
        if ending := await _first_sound(caller, response):
            report.silent.append(f"{heard.transcript!r}: {ending}")
            caller.events.clear()
            caller.sound.clear()
            continue
        report.first.append(_deltas(caller, response)[0].received - ended)
        if number % INTERRUPTED == INTERRUPTED - 1:
            await asyncio.sleep(0.8)  # The next question comes over this answer.
            report.interrupted += 1
            continue
        await _heard(caller, response)
        report.answered += 1
        _listen(caller, response, report)
        report.errors += [event.error.message for event in caller.of("error")]
        caller.events.clear()
        caller.sound.clear()
    return report


async def _first_sound(caller: Caller, response: str) -> str:
    """Wait for sound; if there is none, how the answer ended."""
    until = time.perf_counter() + PATIENCE
    while not _deltas(caller, response):
        for event in caller.of("response.done"):
            if event.response.id == response:
                return _ending(caller, event.response)
        if time.perf_counter() > until:
            return f"nothing in {PATIENCE:.0f} s; {_kinds(caller)}"
        await asyncio.sleep(0.02)
    return ""


def _ending(caller: Caller, response: Any) -> str:
    details = response.status_details
    said = [part.transcript for item in response.output for part in item.content or ()]
    return f"{response.status} ({details and details.reason}), {said}; {_kinds(caller)}"


def _kinds(caller: Caller) -> str:
    """What came, as far as it tells how a turn went."""
    return ", ".join(e.type for e in caller.events if not e.type.endswith("delta"))


async def _heard(caller: Caller, response: str) -> None:
    until = time.perf_counter() + PATIENCE
    while not any(event.response.id == response for event in caller.of("response.done")):
        assert time.perf_counter() < until, f"no end in {PATIENCE} s"
        await asyncio.sleep(0.02)
    while caller.of("parley.state")[-1].state not in ("listening", "hearing"):
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


def _deltas(caller: Caller, response: str) -> list[Any]:
    return [e for e in caller.of("response.output_audio.delta") if e.response_id == response]


def _listen(caller: Caller, response: str, report: Report) -> None:
    """Play an answer again by the times at which its pieces came."""
    deltas = _deltas(caller, response)
    sizes = [len(event.delta) * 3 // 4 // 2 / RATE for event in deltas]
    played_at = deltas[0].received + HELD
    heard = 0.0
    for event, seconds in zip(deltas, sizes, strict=True):
        if event.received > played_at:
            gap = (event.received - played_at) * 1000
            report.underruns.append(
                f"a gap of {gap:.0f} ms after {heard:.1f} of {sum(sizes):.1f} s; "
                f"the first sound came after {report.first[-1]:.1f} s"
            )
            played_at = event.received
        played_at += seconds
        heard += seconds
    took = deltas[-1].received - deltas[0].received
    # What is sent half a second ahead ends half a second before it has been played.
    report.slow += took > sum(sizes)


def _unlike(heard: str, said: str) -> bool:
    one, other = (re.sub(r"[^a-z ]", "", text.lower()) for text in (heard, said))
    return difflib.SequenceMatcher(None, one, other).ratio() < ALIKE


async def watch(process: psutil.Process, until: float) -> list[float]:
    """Memory of the server every five seconds, MB."""
    sizes = []
    while time.perf_counter() < until:
        sizes.append(process.memory_info().rss / 1e6)
        await asyncio.sleep(5)
        if len(sizes) % 12 == 0:
            print(f"{len(sizes) // 12:3} min: {sizes[-1]:.0f} MB", file=sys.stderr, flush=True)
    return sizes


async def soak(
    address: str, process: psutil.Process, sessions: int, minutes: float
) -> tuple[list[Report], list[float]]:
    """Run the conversations; returns what the callers saw, and memory."""
    spoken = questions()
    until = time.perf_counter() + minutes * 60

    async def one(number: int) -> Report:
        async with call(address) as caller:
            session = {"type": "realtime", "max_output_tokens": MOST_TOKENS}
            await caller.send(type="session.update", session=session)
            order = np.random.default_rng(number).permutation(len(spoken)).tolist()
            return await hold(caller, order, spoken, until)

    watching = asyncio.create_task(watch(process, until))
    reports = await asyncio.gather(*(one(number) for number in range(sessions)))
    return list(reports), await watching


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--sessions", type=int, default=4)
    options = parser.parse_args()
    with server("parley") as running:
        reports, sizes = asyncio.run(
            soak(running.address, psutil.Process(running.pid), options.sessions, options.minutes)
        )
    print(
        "| session | asked | answered | interrupted | silent | misheard | errors | underruns "
        "| slow answers | first sound p50 / p95, s |"
    )
    print("|---" * 10 + "|")
    for number, seen in enumerate(reports):
        p50, p95 = np.percentile(seen.first, [50, 95])
        print(
            f"| {number} | {seen.asked} | {seen.answered} | {seen.interrupted} "
            f"| {len(seen.silent)} "
            f"| {len(seen.misheard)} | {len(seen.errors)} | {len(seen.underruns)} | {seen.slow} "
            f"| {p50:.2f} / {p95:.2f} |"
        )
    for seen in reports:
        for line in (*seen.silent, *seen.misheard, *seen.errors, *seen.underruns):
            print(" ", line)
    settled = sizes[int(SETTLED / 5) :] or sizes
    change = (max(settled) / settled[0] - 1) * 100
    print(
        f"memory: {settled[0]:.0f} MB after 2 min, at most {max(settled):.0f} MB "
        f"({change:+.1f} %), {settled[-1]:.0f} MB at the end"
    )


if __name__ == "__main__":
    main()
