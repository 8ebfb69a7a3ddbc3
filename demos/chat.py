"""The chat tab: recognition, synthesis, spoken questions and text, one turn at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos import panel
from demos.answers import Answers
from demos.panel import Options, Panel
from demos.samples import SAMPLES
from demos.thread import Ask, Thread
from engines.base import Task
from services import Services

TASKS: dict[str, Task] = {"Spoken QA": "sqa", "ASR": "asr", "TTS": "tts", "Text": "text"}
EMPTY: dict[Task, str] = {
    "sqa": "### Ask something\nRecord a question, choose a sound file, or type. "
    "The answer is spoken while it is still being written.",
    "asr": "### Speech to text\nRecord or choose a sound file. "
    "You get its words, with their times as subtitles.",
    "tts": "### Text to speech\nType or paste a text. You hear the first words at once.",
    "text": "### Text chat\nThe chat model alone, without a voice.",
}
NOTHING: dict[Task, str] = {
    "sqa": "Record or type a question first.",
    "asr": "Record something or choose a sound file first.",
    "tts": "Type a text first.",
    "text": "Type something first.",
}
TAKES_SOUND = {"sqa", "asr"}
TAKES_TEXT = {"sqa", "tts", "text"}
GIVES_SOUND = {"sqa", "tts"}

Threads = dict[Task, Thread]
"""The dialogues of one session: a switch of the task never mixes them."""


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
    send: gr.Button
    stop: gr.Button
    retry: gr.Button
    clear: gr.Button
    panel: Panel


def build(services: Services, engine: gr.Dropdown, page: gr.Blocks) -> None:
    """Lay out the tab and wire it."""
    widgets = _layout(services, engine)
    _wire(page, widgets, Answers(services), services.settings.session_ttl)


def _layout(services: Services, engine: gr.Dropdown) -> Widgets:
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
        send,
        stop,
        retry,
        clear,
        panel.build(services, engine),
    )


def _wire(page: gr.Blocks, w: Widgets, answers: Answers, session_ttl: float) -> None:
    threads = gr.State({}, time_to_live=session_ttl)
    asked = gr.State(None, time_to_live=session_ttl)
    options, buttons = w.panel.inputs, [w.send, w.stop]
    quick: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }

    def answer(
        task: Task, ask: Ask | None, threads: Threads, request: gr.Request, *chosen: Any
    ) -> Iterator[tuple[Any, ...]]:
        if ask is None:
            yield (gr.skip(),) * 4
            return
        thread = threads.get(task, Thread())
        for view in answers.answer(task, ask, thread, Options(*chosen), request.session_hash):
            yield (
                view.messages,
                gr.skip() if view.sound is None else view.sound,
                gr.skip() if view.timed is None else view.timed,
                {**threads, task: view.thread},
            )

    def run(event: gr.events.Dependency) -> None:
        """Answer what `event` put into `asked`, with Stop lit meanwhile."""
        event.then(
            answer,
            [w.task, asked, threads, *options],
            [w.chat, w.live, w.timed, threads],
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=None,
            trigger_mode="multiple",
        ).then(_idle, None, buttons, **quick)

    def on_send(task: Task, clip: str | None, text: str) -> tuple[Any, ...]:
        clip = clip if task in TAKES_SOUND else None
        text = text if task in TAKES_TEXT else ""
        if clip is None and not text.strip():
            gr.Warning(NOTHING[task], title="Nothing to send")
            return None, clip, text, *_idle()
        return Ask(clip, text), None, "", *_busy()

    def on_recorded(task: Task, clip: str | None, text: str, at_once: bool) -> tuple[Any, ...]:
        return on_send(task, clip, text) if at_once else (None, clip, text, *_idle())

    def on_sample(index: int) -> Any:
        def take(task: Task) -> tuple[Any, ...]:
            sample = SAMPLES[task][index]
            return Ask(sample.clip, sample.text), *_busy()

        return take

    def on_retry(task: Task, threads: Threads) -> tuple[Any, ...]:
        thread = threads.get(task, Thread())
        if thread.last is None or thread.before is None:
            gr.Warning("Ask something first.", title="Nothing to retry")
            return None, threads, *_idle()
        return thread.last, {**threads, task: thread.before}, *_busy()

    def on_task(task: Task, threads: Threads, request: gr.Request) -> tuple[Any, ...]:
        answers.running.stop(request.session_hash)
        return (
            gr.Chatbot(list(threads.get(task, Thread()).messages), placeholder=EMPTY[task]),
            gr.Audio(None, visible=task in GIVES_SOUND),
            gr.Audio(None, visible=False),
            gr.Audio(visible=task in TAKES_SOUND),
            gr.Textbox(visible=task in TAKES_TEXT, label="Or type" if task == "sqa" else "Text"),
            "" if task == "asr" else "en",
            *(gr.Button(sample.label) for sample in SAMPLES[task]),
        )

    def on_clear(task: Task, threads: Threads, request: gr.Request) -> tuple[Any, ...]:
        answers.running.stop(request.session_hash)
        return [], None, gr.Audio(None, visible=False), {**threads, task: Thread()}

    def on_stop(request: gr.Request) -> None:
        answers.running.stop(request.session_hash)

    composer, sent = [w.clip, w.text], [asked, w.clip, w.text, *buttons]
    # Queued, unlike the others: only then can they show a warning.
    asking: dict[str, Any] = {**quick, "queue": True}
    run(gr.on([w.send.click, w.text.submit], on_send, [w.task, *composer], sent, **asking))
    recorded = [w.task, *composer, w.panel.at_once]
    run(w.clip.stop_recording(on_recorded, recorded, sent, **asking))
    run(w.retry.click(on_retry, [w.task, threads], [asked, threads, *buttons], **asking))
    for index, chip in enumerate(w.chips):
        run(chip.click(on_sample(index), w.task, [asked, *buttons], **quick))
    w.stop.click(on_stop, **quick)
    gr.on(
        [w.clear.click, w.chat.clear],
        on_clear,
        [w.task, threads],
        [w.chat, w.live, w.timed, threads],
        **quick,
    )
    switched = [w.chat, w.live, w.timed, w.clip, w.text, w.panel.language, *w.chips]
    w.task.change(on_task, [w.task, threads], switched, **quick)
    page.unload(on_stop)


def _busy() -> tuple[Any, Any]:
    return gr.Button(interactive=False), gr.Button(interactive=True)


def _idle() -> tuple[Any, Any]:
    return gr.Button(interactive=True), gr.Button(interactive=False)
