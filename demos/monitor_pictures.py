"""Tiles and waterfalls of the monitor tab, in HTML that follows the theme."""

import time
from collections.abc import Sequence
from html import escape

from monitor.state import State
from monitor.turns import Turn, percentile
from monitor.watch import Watch

#: Turns that are drawn.
SHOWN = 12
#: What was being done until each mark, for people.
STEPS = {
    "endpoint": "waiting for the end of the turn",
    "encoded": "taking in what was said",
    "recognized": "recognizing",
    "transcript": "recognizing",
    "first_token": "beginning the answer",
    "first_clause": "the first clause",
    "first_audio": "the first sound",
    "first_sent": "waiting to send",
    "first_played": "to the ear",
    "total": "the rest of the reply",
    "last_sent": "the rest of the reply",
}
TASKS = {"sqa": "question", "asr": "transcript", "tts": "speech", "text": "text", "live": "live"}

EMPTY = (
    '<p class="monitor-empty">Nothing was asked yet. Talk, ask something in the chat, or call '
    "the API; each turn then shows here where its time went.</p>"
)


def tiles(watch: Watch) -> str:
    """What one sees at a glance."""
    stages, factors, errors = watch.stages(), watch.factors(), watch.errors()
    state = watch.state()
    ears = stages.get("mouth_to_ear", [])
    sounds = stages.get("first_audio", [])
    title, taken = ("Mouth to ear", ears) if ears else ("First sound", sounds)
    about = (
        "From the end of what you say to the first sound of the reply, in live conversations"
        if ears
        else "From a request to its first sound; there was no live conversation yet"
    )
    p50, p95 = percentile(taken, 0.5), percentile(taken, 0.95)
    p50f, p95f = percentile(factors, 0.5), percentile(factors, 0.95)
    wrong = sum(errors.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(errors.items()))
    return (
        '<dl class="monitor-tiles">'
        + _tile(title, _seconds(p50), f"p95 {_seconds(p95)}", about)
        + _tile(
            "Real-time factor",
            _number(p50f),
            f"p95 {_number(p95f)}, {_underruns(watch.underruns())}",
            "Seconds of work per second of speech; below 1 keeps up with playback. "
            "Underruns: times that a live reply had nothing to play in its middle",
        )
        + _tile(
            "Conversations",
            str(state.live),
            f"{state.active} at work, {state.waiting + state.live_waiting} waiting",
            "Live conversations now; requests that are worked on; those that wait",
        )
        + _tile(
            "Errors", str(wrong), kinds or "none since the start", "Requests that failed", bad=wrong
        )
        + "</dl>"
        + _loaded(state)
    )


def waterfalls(kept: Sequence[Turn]) -> str:
    """Where the time of the last turns went; the newest first, all to one scale.

    Args:
        kept: Oldest first; the last `SHOWN` of them are drawn.
    """
    if not kept:
        return EMPTY
    turns = kept[-SHOWN:]
    longest = max((_end(turn) for turn in turns), default=0.0) or 1.0
    rows = "".join(_row(turn, longest) for turn in reversed(turns))
    met = {name for turn in turns for name, _ in turn.marks}
    legend = {STEPS[name]: name for name in STEPS if name in met}
    keys = "".join(
        f'<span><i class="monitor-{name}"></i>{escape(step)}</span>'
        for step, name in legend.items()
    )
    return (
        f'<h3 class="monitor-heading">{_last(len(turns), len(kept))}</h3>'
        f'<p class="monitor-small monitor-legend">{keys}</p>'
        f'<ol class="monitor-turns">{rows}</ol>'
        f'<p class="monitor-small">The longest took {_seconds(longest)}. '
        "Rest the pointer on a part to see what it is.</p>"
    )


def _tile(name: str, value: str, more: str, about: str, *, bad: int = 0) -> str:
    kind = ' class="monitor-bad"' if bad else ""
    return (
        f'<div title="{escape(about)}"{kind}><dt>{escape(name)}</dt><dd>{escape(value)}</dd>'
        f"<dd>{escape(more)}</dd></div>"
    )


def _loaded(state: State) -> str:
    ready = [model.title for model in state.models if model.state == "ready"]
    loaded = ", ".join(ready) or "no model"
    gpus = "".join(
        f"; {gpu.title} {(gpu.total - gpu.free) / 1e9:.1f} of {gpu.total / 1e9:.1f} GB"
        for gpu in state.gpus
    )
    return (
        f'<p class="monitor-small">Loaded: {escape(loaded)}. '
        f"Memory: {state.memory / 1e9:.1f} GB{escape(gpus)}.</p>"
    )


def _row(turn: Turn, longest: float) -> str:
    parts, before = "", 0.0
    for name, at in sorted(turn.marks, key=lambda mark: mark[1]):
        took = max(0.0, at - before)
        before = max(before, at)
        words = f"{name}: {at:,.0f} ms ({STEPS.get(name, name)}, {took:,.0f} ms)"
        parts += (
            f'<span class="monitor-{name}" style="width:{100 * took / longest:.2f}%" '
            f'title="{escape(words)}"></span>'
        )
    clock = time.strftime("%H:%M:%S", time.localtime(turn.at))
    ended = "" if turn.outcome == "finished" else f" · {turn.outcome}"
    spoken = f"{_seconds(_end(turn))} · {turn.audio:.1f} s of speech{ended}"
    return (
        f'<li><span class="monitor-when">{clock}</span>'
        f'<span class="monitor-what">{escape(TASKS.get(turn.task, turn.task))}, '
        f"{escape(turn.engine)}</span>"
        f'<span class="monitor-bar" role="img" aria-label="{escape(spoken)}">{parts}</span>'
        f'<span class="monitor-took">{escape(spoken)}</span></li>'
    )


def _last(shown: int, kept: int) -> str:
    if shown < kept:
        return f"The last {shown} turns, of {kept} that are kept"
    return "The last turn" if shown == 1 else f"The last {shown} turns"


def _end(turn: Turn) -> float:
    return max((at for _, at in turn.marks), default=0.0)


def _seconds(ms: float | None) -> str:
    if ms is None:
        return "–"
    return f"{ms:,.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"  # noqa: PLR2004


def _underruns(number: int) -> str:
    return "1 underrun" if number == 1 else f"{number or 'no'} underruns"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
