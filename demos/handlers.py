"""What happens in the chat tab when something is pressed."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from demos.answers import Answers
from demos.buttons import buttons
from demos.panel import Options
from demos.samples import SAMPLES
from demos.shelf import Shelf
from demos.showing import OUTPUTS, Showing
from demos.tasks import (
    EMPTY,
    GIVES_SOUND,
    NOTHING,
    TAKES_SIGHT,
    TAKES_SOUND,
    TAKES_TEXT,
    TASKS,
)
from demos.thread import Ask, Thread
from engines.base import Task

SKIP = gr.skip()


class Handlers:
    """Event handlers; they return what their outputs in `demos.chat` ask for.

    A session has one dialogue for each task, each in a state of its own: a reply
    that ends after the task was switched can only touch its own.
    """

    def __init__(self, answers: Answers, showing: Showing) -> None:
        self._answers = answers
        self._running = answers.running
        self._showing = showing

    def answer(
        self, task: Task, ask: Ask | None, request: gr.Request, *rest: Any
    ) -> Iterator[tuple[Any, ...]]:
        """Answer `ask`: chat, live, timed and threads as they grow."""
        own, chosen = _by_task(rest), rest[len(TASKS) :]
        if ask is None:
            yield (SKIP,) * (3 + len(TASKS))
            return
        session = request.session_hash
        for view in self._answers.answer(task, ask, own[task], Options(*chosen), session):
            given = (view.messages, view.sound, view.timed)
            kept = (view.thread if name == task else None for name in own)
            yield tuple(SKIP if part is None else part for part in (*given, *kept))

    def send(
        self,
        task: Task,
        clip: str | None,
        text: str,
        shelf: Shelf,
        engine: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Take what is in the composer: asked, clip, text, buttons, and what is shown.

        What cannot be sent stays where it is.
        """
        shelf = shelf if task in TAKES_SIGHT else Shelf()
        ask = Ask(clip if task in TAKES_SOUND else None, text if task in TAKES_TEXT else "", shelf)
        if ask.clip is None and not ask.text.strip() and not shelf.things:
            gr.Warning(NOTHING[task], title="Nothing to send")
        elif task in TAKES_SIGHT and self._showing.is_reading(request):
            gr.Warning("Send when the video was looked at.", title="Still looking at a video")
        elif blind := self._showing.blind(shelf, engine):
            gr.Warning(f"Nothing was sent. {blind}", title="Not sent")
        elif self._may_ask(request):
            seen = self._showing.emptied() if shelf.things else (SKIP,) * OUTPUTS
            return ask, None, "", *buttons(busy=True), *seen
        return None, *(SKIP,) * (4 + OUTPUTS)

    def recorded(
        self,
        task: Task,
        clip: str | None,
        text: str,
        shelf: Shelf,
        engine: str,
        at_once: bool,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """A recording was stopped: send it, if that is wanted."""
        if not at_once:
            return None, *(SKIP,) * (4 + OUTPUTS)
        return self.send(task, clip, text, shelf, engine, request)

    def sample(self, index: int) -> Any:
        """A handler that asks an example: asked, buttons."""

        def take(task: Task, request: gr.Request) -> tuple[Any, ...]:
            if not self._may_ask(request):
                return None, SKIP, SKIP
            sample = SAMPLES[task][index]
            return Ask(sample.clip, sample.text), *buttons(busy=True)

        return take

    def retry(self, task: Task, request: gr.Request, *threads: Thread) -> tuple[Any, ...]:
        """Ask the last question again: asked, buttons, threads."""
        own = _by_task(threads)
        last, before = own[task].last, own[task].before
        if last is None or before is None:
            gr.Warning("Ask something first.", title="Nothing to retry")
        elif self._may_ask(request):
            return last, *buttons(busy=True), *(before if name == task else SKIP for name in own)
        return None, *(SKIP,) * (2 + len(TASKS))

    def switch(self, task: Task, request: gr.Request, *threads: Thread) -> tuple[Any, ...]:
        """Show another task: chat, live, timed, clip, text, language, what is shown, chips."""
        self._running.end(request.session_hash, shown=False)
        own = _by_task(threads)
        return (
            gr.Chatbot(list(own[task].messages), placeholder=EMPTY[task]),
            gr.Audio(None, visible=task in GIVES_SOUND),
            gr.Audio(None, visible=False),
            gr.Audio(visible=task in TAKES_SOUND),
            gr.Textbox(visible=task in TAKES_TEXT, label="Or type" if task == "sqa" else "Text"),
            "" if task == "asr" else "en",
            gr.Column(visible=task in TAKES_SIGHT),
            *(gr.Button(sample.label) for sample in SAMPLES[task]),
        )

    def clear(self, task: Task, request: gr.Request) -> tuple[Any, ...]:
        """Forget the dialogue on the screen: chat, live, timed, threads."""
        self._running.end(request.session_hash, shown=False, kept=False)
        kept = (Thread() if name == task else SKIP for name in TASKS.values())
        return [], None, gr.Audio(None, visible=False), *kept

    def stop(self, request: gr.Request) -> None:
        """End the reply; what was said stays."""
        self._running.end(request.session_hash)

    def ended(self, request: gr.Request) -> tuple[Any, Any]:
        """A reply is over, or another one runs already: buttons."""
        return buttons(busy=self._running.active(request.session_hash))

    def _may_ask(self, request: gr.Request) -> bool:
        """Reserve the session's place; says so if a request of its own still runs."""
        free = self._running.reserve(request.session_hash)
        if not free:
            gr.Warning("Press Stop to interrupt it.", title="Still answering")
        return free


def _by_task(threads: tuple[Any, ...]) -> dict[Task, Thread]:
    return dict(zip(TASKS.values(), threads, strict=False))
