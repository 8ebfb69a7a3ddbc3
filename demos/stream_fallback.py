"""The talk tab where no WebSocket can be opened: Gradio's own streaming audio, in and out.

The page tries the WebSocket first; `live/page/fallback.js` says when it gives that up.
What was found out about Gradio's streams, and is why this is as it is:

- Pieces of a `stream` event get lost, since a new one replaces one that still waits for its
  handler. Those of a `change` event without a queue do not, but may overtake each other;
  hence their numbers. Only a `stream` event can say how long they are; hence `ready`.
- A stream that plays falls silent at once when the player's value is taken away. It cannot
  carry another reply afterwards: each one is a generator of its own, which ends by setting
  off the next.
"""

import itertools
import wave
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from pydantic import BaseModel, Field, ValidationError

from demos.stream_call import Call, Guest
from live.routes import PAGE_PATH
from speech.pcm import Audio

SKIP = gr.skip()
SCRIPT = f'import(new URL("{PAGE_PATH.lstrip("/")}/fallback.js", document.baseURI))'
NOTE = (
    "This network lets no WebSocket through. Talking works, with longer delays (a second or "
    "two more) and without typing, push to talk and timings. The other tabs work as always."
)
HTML = f"""
<p class="fallback-note">{NOTE}</p>
<button type="button" class="fallback-play" hidden>Let the reply be heard</button>
"""
CSS = """
.fallback-note { margin: 0; padding: 8px 12px; border-left: 3px solid #d97706;
  background: var(--background-fill-secondary); color: var(--body-text-color); }
"""
STATUS_CSS = """
p { margin: 0; }
.fallback-state { font-size: 1.05rem; font-weight: 550; min-height: 1.6em; text-align: center; }
.fallback-delay { color: var(--body-text-color-subdued); font-size: 0.86rem; text-align: center; }
.fallback-notice { padding: 8px 12px; border-left: 3px solid #d97706;
  background: var(--background-fill-secondary); color: var(--body-text-color); }
.fallback-notice:empty { display: none; }
"""
#: Length of a piece of the microphone, seconds. Each is two requests, and browsers have four
#: at a time to spare for them: they have to keep up on a line that takes half a second each.
EVERY = 0.25
#: Larger pieces of a microphone are none, bytes: a second of stereo at 96 kHz.
MOST_BYTES = 400_000


class Report(BaseModel):
    """What the page's script adds to a piece of the microphone.

    Attributes:
        call: Whose.
        number: The place of the piece, counted from 1.
        reply: What the player has.
        seconds: How much of it was played.
        ended: All of it was.
    """

    call: str
    number: int = Field(ge=1)
    reply: str
    seconds: float = Field(ge=0)
    ended: bool


class Calls:
    """The conversations by browser session; a session has one at a time.

    All of it runs on the event loop of the web server, as the sessions do.

    Args:
        guest: See `Guest`.
        page: Forgets the pieces of microphones once they are heard.
    """

    def __init__(self, guest: Guest, page: gr.Blocks) -> None:
        self._guest = guest
        self._page = page
        self._calls: dict[str | None, Call] = {}
        self._turns = itertools.count(1)

    async def begin(self, half_duplex: bool, request: gr.Request) -> int:
        """The microphone was opened; returns what sets off `follow`."""
        await self.end(request)
        # Those whose page never asked how they ended.
        self._calls = {session: call for session, call in self._calls.items() if not call.is_over}
        call = self._calls[request.session_hash] = Call(self._guest)
        call.client.half_duplex = half_duplex
        return next(self._turns)

    async def end(self, request: gr.Request) -> None:
        """The microphone was closed, or the page."""
        call = self._calls.pop(request.session_hash, None)
        if call is not None:
            await call.hang_up()

    async def hear(self, clip: str | None, given: Any, request: gr.Request) -> None:
        """A piece of the microphone came, and with it how far the player is."""
        if clip is None:
            return
        piece = self._read(Path(clip))
        call = self._calls.get(request.session_hash)
        with suppress(ValidationError):
            report = Report.model_validate(given)
            if call is not None and report.call == call.id:
                call.played(report.reply, report.seconds, ended=report.ended)
                call.hear(report.number, piece)

    async def follow(self, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """Show the conversation, up to the end of a reply: player, dialogue, status, wire, turn."""
        call = self._calls.get(request.session_hash)
        if call is None:
            return
        async for view in call.views():
            turn = next(self._turns) if view.is_last else SKIP
            yield view.player, view.messages, view.status, view.wire, turn

    async def stop(self, request: gr.Request) -> None:
        """End the reply."""
        call = self._calls.get(request.session_hash)
        if call is not None:
            call.client.stop()

    async def set_half_duplex(self, on: bool, request: gr.Request) -> None:
        """Whether the microphone is heard while a reply is."""
        call = self._calls.get(request.session_hash)
        if call is not None:
            call.client.half_duplex = on

    def _read(self, path: Path) -> Audio | None:
        """Read a piece and delete it: ten files a second, of what people say, are kept nowhere.

        None if it is gone: pieces of one content have one path, and silence is the only
        thing that sounds the same twice.
        """
        try:
            if path.stat().st_size > MOST_BYTES:
                return None
            raw = path.read_bytes()
            path.unlink()
            path.parent.rmdir()
        except OSError:
            return None
        for files in self._page.temp_file_sets:
            files.discard(str(path))
        return _decode(raw)


def build(guest: Guest, talk: gr.HTML, page: gr.Blocks) -> None:
    """Lay out the fallback, to be shown when the talk tab says so.

    Args:
        guest: See `Guest`.
        talk: What it stands in for.
        page: What is unloaded when its visitor leaves.
    """
    calls = Calls(guest, page)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    with gr.Column(visible=False, elem_id="fallback") as area:
        note = gr.HTML(
            html_template=HTML,
            css_template=CSS,
            js_on_load=f'{SCRIPT}.then(({{ mount }}) => mount(props, () => trigger("ready")));',
            begins=False,
        )
        status = gr.HTML(css_template=STATUS_CSS, js_on_load=None)
        chat = gr.Chatbot(
            label="Dialogue",
            show_label=False,
            height=380,
            elem_id="fallback-dialogue",
            placeholder="Press Record and say something, for example “Why is the sky blue?”",
            latex_delimiters=[],
            feedback_options=None,
        )
        with gr.Row():
            microphone = gr.Audio(
                label="Record begins the conversation, Stop ends it",
                sources="microphone",
                streaming=True,
                type="filepath",
                elem_id="fallback-microphone",
                buttons=[],
            )
            with gr.Column():
                stop = gr.Button("Stop reply", elem_id="fallback-stop")
                half = gr.Checkbox(
                    False,
                    label="Speaker",
                    info="Half duplex: it does not listen while it speaks. For loudspeakers.",
                )
        player = gr.Audio(
            streaming=True,
            autoplay=True,
            interactive=False,
            elem_id="fallback-player",
            visible="hidden",
        )
        wire = gr.JSON(visible="hidden")
        turn = gr.Number(0, visible="hidden")

    every = f"() => ({{ __type__: 'update', stream_every: {EVERY} }})"
    begin = f"async () => {{ (await {SCRIPT}).begin(); }}"
    note.ready(None, None, microphone, js=every).then(None, None, None, js=begin)
    talk.no_websocket(_show, None, [talk, area, note], **quick)
    microphone.start_recording(calls.begin, half, turn, **quick)
    microphone.stop_recording(calls.end, None, None, **quick)
    microphone.change(
        calls.hear,
        [microphone, wire],
        None,
        js=f"async (...given) => (await {SCRIPT}).report(...given)",
        trigger_mode="multiple",
        **quick,
    )
    turn.change(
        calls.follow,
        None,
        [player, chat, status, wire, turn],
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=None,
        trigger_mode="multiple",
    )
    wire.change(None, wire, None, js=f"async (wire) => (await {SCRIPT}).follow(wire)")
    stop.click(calls.stop, None, None, **quick)
    half.change(calls.set_half_duplex, half, None, **quick)
    page.unload(calls.end)


def _show(event: gr.EventData) -> tuple[Any, ...]:
    """Put the fallback in the place of the talk tab; it begins by itself if that was to."""
    return gr.HTML(visible=False), gr.Column(visible=True), gr.HTML(begins=event.microphone)


def _decode(raw: bytes) -> Audio | None:
    """A piece as the browser's recorder writes it, 16 bits and without a true length."""
    try:
        with wave.open(BytesIO(raw)) as file:
            channels, rate = file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        return None
    samples = np.frombuffer(frames[: len(frames) // (2 * channels) * 2 * channels], "<i2")
    mono = samples.reshape(-1, channels).mean(axis=1)
    return Audio((mono / 32768).astype(np.float32), rate)
