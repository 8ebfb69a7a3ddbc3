"""The voices tab: a reference, its check, words, and what came of it; the library below."""

from typing import Any

import gradio as gr

from demos import clone_batch, clone_detect, clone_keep, clone_layout, clone_library
from demos.clone_layout import Widgets
from demos.clone_steps import Steps, ask
from demos.clone_words import notice
from services import Services


def build(services: Services, engine: gr.State, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the tab and wire it."""
    if not services.voices.library.consent:
        gr.HTML(
            notice(
                "The consent check is off on this server (PARLEY_VOICE_CONSENT=false): recordings "
                "of people are stored without asking them. Only for research on this machine."
            ),
            elem_id="voice-gate-off",
        )
    widgets = clone_layout.build(services)
    library = clone_library.build()
    clone_batch.build(services, engine, page)
    clone_detect.build(services)
    _wire(services, engine, page, tab, widgets, library)


def _wire(
    services: Services,
    engine: gr.State,
    page: gr.Blocks,
    tab: gr.Tab,
    w: Widgets,
    library: clone_library.Widgets,
) -> None:
    files: set[str] = set()
    page.temp_file_sets.append(files)
    on, shelf = Steps(services, files), clone_library.Shelf(services, files)
    ttl = services.settings.session_ttl
    given = gr.State(None, time_to_live=ttl)
    origin = gr.State("upload", time_to_live=ttl)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    long: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": None,
    }
    choice = [w.source, w.voice, given, engine]
    show = (on.show, choice, [w.voice, w.clip, w.use, w.report, w.excerpt, w.keep.fold, w.speak])

    def refresh(event: gr.events.Dependency) -> None:
        """Show the library as it is after `event`."""
        event.then(on.voices, w.voice, w.voice, **quick).then(
            shelf.show, None, library.cards, **quick
        )

    gr.on([w.source.change, w.voice.change, engine.change], *show, **quick)
    refresh(tab.select(*show, **quick))
    w.clip.start_recording(lambda: "recording", None, origin, **quick)
    w.clip.clear(lambda: "upload", None, origin, **quick)
    checked = [given, w.report, w.excerpt, w.keep.fold, w.speak]
    w.clip.change(on.check, [w.clip, origin, engine], checked, trigger_mode="multiple", **long)
    w.task.change(ask, w.task, [w.text, w.question], **quick)
    result = [w.status, w.live, w.players, w.findings, w.download, w.speak, w.stop]
    w.speak.click(
        on.speak,
        [w.source, w.voice, given, w.task, w.text, w.question, w.seed, engine],
        result,
        trigger_mode="multiple",
        **long,
    )
    w.stop.click(on.stop, **quick)
    page.unload(on.leave)
    refresh(clone_keep.wire(services, page, w.keep, given))
    for event in clone_library.wire(shelf, library, w.source, w.voice):
        refresh(event)
