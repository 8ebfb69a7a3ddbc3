"""What counting costs: the monitor's share of a turn.

    python -m bench.monitor

Records the events of a real spoken question, then runs them through `Watch.request`
many times, with and without a live turn's report, and prints the cost of one turn against
how long the turn itself took. Expected: well under 1 %.
"""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from engines.base import Cancel
from engines.messages import Conversation, Event, Sampling, Turn
from monitor.watch import Watch
from services import Services
from settings import Settings
from speech.files import read_clip

ROUNDS = 5
#: Turns that are counted in each round.
MANY = 2000
CLIP = Path(__file__).parent.parent / "assets" / "samples" / "sky.wav"
MARKS = {
    "endpoint": 300.0,
    "transcript": 400.0,
    "first_token": 500.0,
    "first_audio": 600.0,
    "first_sent": 610.0,
    "first_played": 650.0,
    "last_sent": 3000.0,
}


def main() -> None:
    """Print the ratio."""
    with Services(Settings(warm=False, temperature=0)) as services:
        turn = Turn(read_clip(CLIP).audio)

        def ask() -> list[Event]:
            sampling = Sampling(0, seed=0)
            return list(
                services.converse(
                    turn, Conversation(), sampling=sampling, language="en", cancel=Cancel()
                )
            )

        ask()
        took = []
        events: list[Event] = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            events = ask()
            took.append(time.perf_counter() - began)
        watch = Watch(lambda: 0, lambda: 0, services.models.status)
        costs = [_counted(watch, events) - _plain(events) for _ in range(ROUNDS)]
    turn_s, cost_s = statistics.median(took), statistics.median(costs)
    print(f"a turn of {len(events)} events      {turn_s * 1000:9.1f} ms")
    print(f"counting it                {cost_s * 1000:9.4f} ms")
    print(f"ratio                      {100 * cost_s / turn_s:9.4f} %   (limit 1 %)")


def _plain(events: list[Event]) -> float:
    """Seconds that a turn takes to be handed on, uncounted."""
    began = time.perf_counter()
    for _ in range(MANY):
        for _event in _handed(events):
            pass
    return (time.perf_counter() - began) / MANY


def _counted(watch: Watch, events: list[Event]) -> float:
    """The same, counted as a request and as a live turn."""
    began = time.perf_counter()
    for _ in range(MANY):
        with watch.request("sqa", "embedded", live=True) as see:
            for _event in see(_handed(events)):
                pass
        watch.live_turn("embedded", MARKS, 2.4)
    return (time.perf_counter() - began) / MANY


def _handed(events: list[Event]) -> Iterator[Event]:
    yield from events


if __name__ == "__main__":
    main()
