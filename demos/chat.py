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
    chips: list[gr.Button]
    clip: gr.Audio
    text: gr.Textbox
    send: gr.Button
    stop: gr.Button
    retry: gr.Button
    clear: gr.Button
    panel: Panel


def build(services: Services, engine: gr.Dropdown) -> None:
    """Lay out the tab and wire it."""
    widgets = _layout(services, engine)
    _wire(widgets, Answers(services), services.settings.session_ttl)


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
        height="50vh",
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
            lines=3,
            max_lines=8,
            elem_id="text",
            min_width=260,
        )
    with gr.Row(elem_id="actions"):
        send = gr.Button("Send", variant="primary", elem_id="send", min_width=70)
        stop = gr.Button("Stop", variant="stop", elem_id="stop", min_width=70, interactive=False)
        retry = gr.Button("Retry", elem_id="retry", min_width=70)
        clear = gr.Button("Clear", elem_id="clear", min_width=70)
    return Widgets(
        task, chat, live, chips, clip, text, send, stop, retry, clear, panel.build(services, engine)
    )


def _wire(w: Widgets, answers: Answers, session_ttl: float) -> None:
    threads = gr.State({}, time_to_live=session_ttl)
    asked = gr.State(None, time_to_live=session_ttl)
    options = w.panel.inputs
    quick: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }

    def answer(
        task: Task, ask: Ask | None, threads: Threads, request: gr.Request, *chosen: Any
    ) -> Iterator[tuple[Any, ...]]:
        thread = threads.get(task, Thread())
        if ask is None:  # A retry; the state knows of what.
            ask, thread = thread.last, thread.before
        views = answers.answer(task, ask, thread, Options(*chosen), request.session_hash)
        for messages, sound, grown in views:
            yield messages, gr.skip() if sound is None else sound, {**threads, task: grown}

    def run(event: gr.events.Dependency) -> None:
        """Answer what `event` put into `asked`, with Stop lit meanwhile."""
        event.success(
            answer,
            [w.task, asked, threads, *options],
            [w.chat, w.live, threads],
            show_progress="hidden",
            api_visibility="private",
            concurrency_limit=None,
            trigger_mode="multiple",
        ).then(_idle, None, [w.send, w.stop], **quick)

    def on_send(task: Task, clip: str | None, text: str) -> tuple[Any, ...]:
        clip = clip if task in TAKES_SOUND else None
        text = text if task in TAKES_TEXT else ""
        if clip is None and not text.strip():
            raise gr.Error(_nothing(task), title="Nothing to send", print_exception=False)
        return Ask(clip, text), None, "", *_busy()

    def on_recorded(task: Task, clip: str | None, text: str, at_once: bool) -> tuple[Any, ...]:
        if not at_once or clip is None:
            raise gr.Error("", visible=False, print_exception=False)
        return on_send(task, clip, text)

    def on_sample(index: int) -> Any:
        def take(task: Task) -> tuple[Any, ...]:
            sample = SAMPLES[task][index]
            return Ask(sample.clip, sample.text), *_busy()

        return take

    def on_retry(task: Task, threads: Threads) -> tuple[Any, ...]:
        if threads.get(task, Thread()).before is None:
            raise gr.Error("Ask something first.", title="Nothing to retry", print_exception=False)
        return None, *_busy()

    def on_task(task: Task, threads: Threads, request: gr.Request) -> tuple[Any, ...]:
        answers.running.stop(request.session_hash)
        return (
            gr.Chatbot(list(threads.get(task, Thread()).messages), placeholder=EMPTY[task]),
            gr.Audio(None, visible=task in GIVES_SOUND),
            gr.Audio(visible=task in TAKES_SOUND),
            gr.Textbox(visible=task in TAKES_TEXT, label="Or type" if task == "sqa" else "Text"),
            "" if task == "asr" else "en",
            *(gr.Button(sample.label) for sample in SAMPLES[task]),
        )

    def on_clear(task: Task, threads: Threads, request: gr.Request) -> tuple[Any, ...]:
        answers.running.stop(request.session_hash)
        return [], None, {**threads, task: Thread()}

    def on_stop(request: gr.Request) -> None:
        answers.running.stop(request.session_hash)

    composer, buttons = [w.clip, w.text], [w.send, w.stop]
    run(
        gr.on(
            [w.send.click, w.text.submit],
            on_send,
            [w.task, *composer],
            [asked, *composer, *buttons],
            **quick,
        )
    )
    recorded = [w.task, *composer, w.panel.at_once]
    run(w.clip.stop_recording(on_recorded, recorded, [asked, *composer, *buttons], **quick))
    for index, chip in enumerate(w.chips):
        run(chip.click(on_sample(index), w.task, [asked, *buttons], **quick))
    run(w.retry.click(on_retry, [w.task, threads], [asked, *buttons], **quick))
    w.stop.click(on_stop, **quick)
    w.clear.click(on_clear, [w.task, threads], [w.chat, w.live, threads], **quick)
    switched = [w.chat, w.live, w.clip, w.text, w.panel.language, *w.chips]
    w.task.change(on_task, [w.task, threads], switched, **quick)
    gr.context.Context.root_block.unload(on_stop)  # type: ignore[union-attr]


def _nothing(task: Task) -> str:
    return {
        "asr": "Record something or choose a sound file first.",
        "sqa": "Record or type a question first.",
    }.get(task, "Type something first.")


def _busy() -> tuple[Any, Any]:
    return gr.Button(interactive=False), gr.Button(interactive=True)


def _idle() -> tuple[Any, Any]:
    return gr.Button(interactive=True), gr.Button(interactive=False)
