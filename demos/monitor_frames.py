"""What the plots of the monitor tab show, as tables."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd

from monitor.state import State
from monitor.turns import Turn, percentile

LATENCIES = ("mouth to ear", "first sound", "first token")
#: In the order in which they end, by what they are called on a narrow screen.
STAGES = {
    "vad": "VAD",
    "encoding": "heard",
    "recognition": "words",
    "first_token": "token",
    "first_audio": "sound",
    "mouth_to_ear": "ear",
}
#: Bars are piled up from the last on.
SHARES = ("more at p95", "p50")
LOAD = ("conversations", "at work", "waiting")
MEMORY = ("process", "GPU")

GIGABYTE = 1e9


def latencies(turns: Sequence[Turn]) -> pd.DataFrame:
    """A point for what each turn took."""
    rows = []
    for turn in turns:
        marks = dict(turn.marks)
        live = turn.task == "live"
        for what, ms in zip(
            LATENCIES,
            (
                turn.mouth_to_ear,
                None if live else marks.get("first_audio"),
                None if live else marks.get("first_token"),
            ),
            strict=True,
        ):
            if ms is not None:
                rows.append((_time(turn.at), round(ms, 1), what))
    return pd.DataFrame(rows, columns=["time", "milliseconds", "what"])


def stages(taken: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Two bars for each stage: p50, and what p95 has more."""
    rows = []
    for stage, name in STAGES.items():
        p50 = percentile(taken.get(stage, ()), 0.5)
        p95 = percentile(taken.get(stage, ()), 0.95)
        if p50 is not None and p95 is not None:
            rows.append((name, round(p95 - p50, 1), SHARES[0]))
            rows.append((name, round(p50, 1), SHARES[1]))
    return pd.DataFrame(rows, columns=["stage", "milliseconds", "share"])


def load(notes: Sequence[State]) -> pd.DataFrame:
    """Who is here and who waits, over time."""
    rows = [
        (_time(note.at), number, what)
        for note in notes
        for what, number in zip(LOAD, (note.live, note.active, note.waiting), strict=True)
    ]
    return pd.DataFrame(rows, columns=["time", "number", "what"])


def memory(notes: Sequence[State]) -> pd.DataFrame:
    """Memory over time; of GPUs only where there are any."""
    rows = []
    for note in notes:
        rows.append((_time(note.at), note.memory / GIGABYTE, MEMORY[0]))
        if note.gpus:
            rows.append((_time(note.at), note.gpu_memory / GIGABYTE, MEMORY[1]))
    return pd.DataFrame(rows, columns=["time", "gigabytes", "what"])


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
