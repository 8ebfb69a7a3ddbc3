"""What the plots of the monitor tab show, as tables."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd

from monitor.state import State
from monitor.turns import Turn, percentile

#: Short enough to stand side by side on a narrow screen.
LATENCIES = ("mouth to ear", "sound", "token")
#: In the order in which they end, by what they are called on a narrow screen.
STAGES = {
    "vad": "VAD",
    "encoding": "heard",
    "recognition": "ASR",
    "first_token": "token",
    "first_audio": "sound",
    "mouth_to_ear": "ear",
}
#: Bars are piled up from the last on.
SHARES = ("more at p95", "p50")
LOAD = ("conversations", "at work", "waiting")
MEMORY = ("process", "GPU")

GIGABYTE = 1e9

Row = tuple[datetime | None, float | None, str]


def latencies(turns: Sequence[Turn]) -> pd.DataFrame:
    """A point for each wait: of a live turn mouth to ear, else the first sound and token."""
    rows = list[Row]()
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
    return _over_time(rows, "milliseconds", LATENCIES)


def stages(taken: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Two bars for each stage: p50, and what p95 has more; none where it is not known."""
    rows = []
    for stage, name in STAGES.items():
        p50 = percentile(taken.get(stage, ()), 0.5)
        p95 = percentile(taken.get(stage, ()), 0.95)
        more = None if p50 is None or p95 is None else p95 - p50
        for share, ms in zip(SHARES, (more, p50), strict=True):
            rows.append((name, ms, share))
    frame = pd.DataFrame(rows, columns=["stage", "milliseconds", "share"])
    return frame.astype({"milliseconds": float}).round(1)


def load(notes: Sequence[State]) -> pd.DataFrame:
    """Who is here and who waits, over time."""
    rows: list[Row] = [
        (_time(note.at), number, what)
        for note in notes
        for what, number in zip(LOAD, (note.live, note.active, note.waiting), strict=True)
    ]
    return _over_time(rows, "number", LOAD)


def memory(notes: Sequence[State]) -> pd.DataFrame:
    """Memory over time; of GPUs only where there are any."""
    rows = list[Row]()
    for note in notes:
        rows.append((_time(note.at), note.memory / GIGABYTE, MEMORY[0]))
        if note.gpus:
            rows.append((_time(note.at), note.gpu_memory / GIGABYTE, MEMORY[1]))
    return _over_time(rows, "gigabytes", MEMORY if notes and notes[-1].gpus else MEMORY[:1])


def _over_time(rows: Sequence[Row], y: str, names: Sequence[str]) -> pd.DataFrame:
    """The rows, after one without a point for each name.

    An open plot goes on with the names, and the kinds of axes, that it had at first.
    """
    frame = pd.DataFrame([*((None, None, name) for name in names), *rows])
    frame.columns = pd.Index(["time", y, "what"])
    return frame.astype({"time": "datetime64[ns, UTC]", y: float})


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
