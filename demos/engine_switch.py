"""The engine switch: what there is, what it needs, what it is doing; loaded, unloaded, chosen.

The choice is made in the browser (`assets/engines`), which asks for all of this and tells
the server what was chosen; an engine is chosen only once it is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demos.problems import told
from engine_desk import EngineStatus
from services import Services

PARTS = Path(__file__).parent.parent / "assets" / "engines"
#: Tabs that can have an engine of their own.
TABS = ("talk", "chat", "voices")


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine of each tab that asks the server, as a state of the session.

    The talk tab is told in the browser, by the event `parley-engine`.
    """

    chat: gr.State
    voices: gr.State


def build(services: Services) -> Choice:
    """Lay out the switch; returns what is chosen."""

    def list_engines(_: object = None) -> list[dict[str, Any]]:
        return [described(status) for status in services.desk.statuses()]

    def load_engine(name: str) -> str:
        return _problem(services.desk.load, name)

    def stop_engine(name: str) -> str:
        return _problem(services.desk.stop, name)

    def unload_engine(name: str) -> str:
        return _problem(services.desk.unload, name)

    def agree_engine(name: str) -> str:
        return _problem(services.desk.agree, name)

    def choose(chosen: Any) -> tuple[Any, ...]:
        """What the page chose, for chat and voices; it is a browser's word, so it is checked."""
        given = chosen if isinstance(chosen, dict) else {}
        names = (given.get(tab) for tab in ("chat", "voices"))
        return tuple(name if name in services.entries else gr.skip() for name in names)

    default = services.settings.engine
    switch = gr.HTML(
        dict.fromkeys(TABS, default),
        html_template=(PARTS / "switch.html").read_text(encoding="utf-8"),
        css_template=(PARTS / "switch.css").read_text(encoding="utf-8"),
        js_on_load="".join(
            (PARTS / name).read_text(encoding="utf-8") for name in ("words.js", "switch.js")
        ),
        apply_default_css=False,
        server_functions=[list_engines, load_engine, stop_engine, unload_engine, agree_engine],
        elem_id="parley-engine",
        label="Engine",
        min_width=0,
    )
    ttl = services.settings.session_ttl
    choice = Choice(
        chat=gr.State(default, time_to_live=ttl), voices=gr.State(default, time_to_live=ttl)
    )
    switch.change(
        choose,
        switch,
        [choice.chat, choice.voices],
        # Queued: only then does the browser hear that a state has changed, which others follow.
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
    )
    return choice


def tell_tab(tab: gr.Tab, name: str) -> None:
    """Let the switch show the engine of a tab while that is open."""
    event = f"() => window.dispatchEvent(new CustomEvent('parley-tab', {{ detail: '{name}' }}))"
    tab.select(None, None, None, js=event)


def described(status: EngineStatus) -> dict[str, Any]:
    """An engine as the page's script takes it."""
    info, progress = status.entry.info, status.progress
    return {
        "name": info.name,
        "title": info.title,
        "notes": info.notes,
        "tasks": sorted(info.tasks),
        "hears": list(info.hears),
        "speaks": list(info.speaks),
        "voices": len(info.voices),
        "reference": info.reference,
        "can_see": info.can_see,
        "licence": status.entry.licence,
        "needs": status.entry.needs,
        # Parts that run elsewhere take none.
        "memory": sorted((device, size) for device, size in status.memory.items() if size),
        "download": status.entry.requires.download,
        "missing": status.missing,
        "fit": {"ok": status.fit.ok, "reason": status.fit.reason, "remedy": status.fit.remedy},
        "state": status.state,
        "models": list(status.models),
        "progress": progress
        and {
            "text": progress.text,
            "fraction": progress.fraction,
            "bytes_done": progress.bytes_done,
            "seconds_left": progress.seconds_left,
        },
        "failure": status.failure,
        "users": status.users,
        "terms": status.terms,
    }


def _problem(do: Callable[[str], None], name: str) -> str:
    """Do something with an engine; returns what went wrong, in words, or nothing."""
    try:
        do(name)
    except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
        return told(error)
    return ""
