"""The header of the page: which engine, and what it is doing right now."""

from html import escape

import gradio as gr
import psutil

from demos import engine_switch
from demos.engine_switch import Choice
from model_loader import ModelStatus
from services import Services

#: How often the status line is drawn anew, seconds.
PERIOD = 1.0


def build(services: Services) -> Choice:
    """Lay out the header; returns the engines that are chosen in it."""
    with gr.Row(elem_id="parley-header", equal_height=True):
        gr.HTML('<h1 class="parley-name">Parley</h1>', min_width=0, padding=False)
        choice = engine_switch.build(services)
        status = gr.HTML(status_line(services), elem_id="parley-status", padding=False)
    gr.Timer(PERIOD).tick(
        lambda: status_line(services),
        outputs=status,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    return choice


def status_line(services: Services) -> str:
    """State, device, memory and queue in one line of HTML."""
    statuses = services.models.status()
    kind, state = _state(statuses)
    memory = psutil.Process().memory_info().rss / 1e9
    devices = ", ".join(sorted(name for name, budget in services.budgets.items() if budget))
    waiting = services.turnstile.waiting
    figures = (
        f'<span title="Where the models run">{escape(devices)}</span>',
        f'<span title="Memory of the whole app">{memory:.1f} GB</span>',
        f'<span title="Requests that wait for their turn">{waiting} waiting</span>',
    )
    return (
        f'<div class="parley-status" role="status"><span class="parley-state parley-{kind}">'
        f"{escape(state)}</span>{''.join(figures)}</div>"
    )


def waiting_for(services: Services, ahead: int | None) -> str:
    """What a request that has given nothing yet is waiting for.

    Args:
        services: Whose models may be loading.
        ahead: Requests that come before it; None if it does not wait.
    """
    loading = [status for status in services.models.status() if status.state == "loading"]
    if loading:
        return f"Waiting for {_loading(loading[0])}"
    if ahead is not None:
        return f"{ahead} {'request' if ahead == 1 else 'requests'} ahead of you"
    return "Working …"


def _state(statuses: tuple[ModelStatus, ...]) -> tuple[str, str]:
    failed = [status for status in statuses if status.state == "failed"]
    loading = [status for status in statuses if status.state == "loading"]
    notes = [status.note for status in statuses if status.note]
    if failed:
        return "failed", f"{failed[0].title}: {failed[0].failure}"
    if loading:
        return "loading", _loading(loading[0])
    if notes:
        return "note", notes[0]
    if any(status.state == "ready" for status in statuses):
        return "ready", "ready"
    return "idle", "models load when they are needed"


def _loading(status: ModelStatus) -> str:
    """The model, what is going on, and how far it is."""
    progress = status.progress
    if progress is None:
        return status.title
    parts = [f"{status.title}: {progress.text}"]
    if progress.fraction is not None:
        parts.append(f"{progress.fraction:.0%}")
    if progress.bytes_done:
        parts.append(f"{progress.bytes_done / 1e6:.0f} MB")
    if progress.seconds_left is not None:
        parts.append(f"{progress.seconds_left:.0f} s left")
    return " · ".join(parts)
