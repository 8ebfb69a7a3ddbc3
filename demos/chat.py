"""The chat tab: recognition, synthesis, spoken questions and text, one turn at a time."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos import panel, showing
from demos.answers import Answers
from demos.handlers import Handlers
from demos.panel import Panel
from demos.samples import SAMPLES
from demos.shelf import Shelf
from demos.showing import Showing
from demos.tasks import EMPTY, TASKS
from demos.thread import Thread
from services import Services


@dataclass(frozen=True, slots=True)
class Widgets:
    """What the tab is made of."""

    task: gr.Radio
    chat: gr.Chatbot
    live: gr.Audio
    timed: gr.Audio
    chips: list[gr.Button]
    clip: gr.Audio
    text: gr.Textbox
    seen: showing.Widgets
    send: gr.Button
    stop: gr.Button
    retry: gr.Button
    clear: gr.Button
    panel: Panel


def build(services: Services, engine: gr.State, tab: gr.Tab, page: gr.Blocks) -> None:
    """Lay out the tab and wire it."""
    widgets = _layout(services, engine)
    files: set[str] = set()
    page.temp_file_sets.append(files)
    seeing = Showing(services, files)
    shelf = gr.State(Shelf(), time_to_live=services.settings.session_ttl)
    showing.wire(page, widgets.seen, seeing, shelf, engine)
    on = Handlers(Answers(services), seeing)
    _wire(page, widgets, on, shelf, engine, services.settings.session_ttl)
    gr.on(
        # A voice may have come into the library, or gone, in the meantime.
        [page.load, engine.change, tab.select],
        lambda name, chosen: (
            panel.voices(services, name, chosen),
            gr.Checkbox(visible=services.engine(name).info.can_see),
        ),
        [engine, widgets.panel.voice],
        [widgets.panel.voice, widgets.panel.skips_vision],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _layout(services: Services, engine: gr.State) -> Widgets:
    task = gr.Radio(
        list(TASKS.items()),
        value="sqa",
        label="Task",
        container=False,
        elem_id="task",
    )
    chat = gr.Chatbot(
        placeholder=EMPTY["sqa"],
        label="Dialogue",
        show_label=False,
        elem_id="chat",
        buttons=["copy", "copy_all"],
        latex_delimiters=[],
        feedback_options=None,
    )
    live = gr.Audio(
        label="The reply, as it is made",
        streaming=True,
        autoplay=True,
        interactive=False,
        elem_id="live",
        buttons=[],
    )
    timed = gr.Audio(
        label="Your clip, with its words as subtitles",
        interactive=False,
        elem_id="timed",
        visible=False,
        buttons=["download"],
    )
    with gr.Row(elem_id="samples"):
        chips = [gr.Button(sample.label, size="sm", min_width=90) for sample in SAMPLES["sqa"]]
    with gr.Row(equal_height=True, elem_id="composer"):
        clip = gr.Audio(
            label="Speak, or drop a sound file",
            sources=["microphone", "upload"],
            type="filepath",
            elem_id="clip",
            min_width=260,
            buttons=[],
        )
        text = gr.Textbox(
            label="Or type",
            placeholder="Enter sends, Shift+Enter makes a new line",
            lines=1,  # More, and Enter would no longer send.
            max_lines=6,
            elem_id="text",
            min_width=260,
        )
    seen = showing.build()
    with gr.Row(elem_id="actions"):
        send = gr.Button("Send", variant="primary", elem_id="send", min_width=70)
        stop = gr.Button("Stop", variant="stop", elem_id="stop", min_width=70, interactive=False)
        retry = gr.Button("Retry", elem_id="retry", min_width=70)
        clear = gr.Button("Clear", elem_id="clear", min_width=70)
    return Widgets(
        task,
        chat,
        live,
        timed,
        chips,
        clip,
        text,
        seen,
        send,
        stop,
        retry,
        clear,
        panel.build(services, engine),
    )


def _wire(
    page: gr.Blocks,
    w: Widgets,
    on: Handlers,
    shelf: gr.State,
    engine: gr.State,
    session_ttl: float,
) -> None:
    threads = [gr.State(Thread(), time_to_live=session_ttl) for _ in TASKS]
    asked = gr.State(None, time_to_live=session_ttl)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    # Queued, unlike the quick ones: only then can they show a warning.
    asking = {**quick, "queue": True}
    buttons, composer = [w.send, w.stop], [w.clip, w.text]
    given = [w.task, *composer, shelf, engine]
    sent = [asked, *composer, *buttons, shelf, *w.seen.outputs]
    cleared = [w.chat, w.live, w.timed, *threads]

    def run(event: gr.events.Dependency) -> None:
        """Answer what `event` put into `asked`, with Stop lit meanwhile."""
        event.then(
            on.answer,
            [w.task, asked, *threads, *w.panel.inputs],
            [w.chat, w.live, w.timed, *threads],
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=None,
            trigger_mode="multiple",
        ).then(on.ended, None, buttons, **quick)

    run(gr.on([w.send.click, w.text.submit], on.send, given, sent, **asking))
    run(w.clip.stop_recording(on.recorded, [*given, w.panel.at_once], sent, **asking))
    run(w.retry.click(on.retry, [w.task, *threads], [asked, *buttons, *threads], **asking))
    for index, chip in enumerate(w.chips):
        run(chip.click(on.sample(index), w.task, [asked, *buttons], **asking))
    w.stop.click(on.stop, **quick)
    gr.on([w.clear.click, w.chat.clear], on.clear, w.task, cleared, **quick)
    shown = [w.chat, w.live, w.timed, w.clip, w.text, w.panel.language, w.seen.part]
    switched = [*shown, *w.chips]
    w.task.change(on.switch, [w.task, *threads], switched, **quick)
    page.unload(on.stop)
