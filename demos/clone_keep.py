"""Keeping a recording as a voice of the library: what it is called, and its speaker's consent."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.clone_given import Given
from demos.clone_words import notice, shown
from demos.problems import told
from demos.running import Running
from engines.base import Cancel
from engines.messages import Transcript
from errors import InputError
from services import Services
from speech.pcm import Audio
from voices.consent import EXPIRES, Consent
from voices.library import SHARED_NOTE
from voices.names import checked_name

SKIP = gr.skip()
#: The sentences of the gate are English.
LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class Keep:
    """The folded part under the check."""

    fold: gr.Accordion
    name: gr.Textbox
    description: gr.Textbox
    transcript: gr.Textbox
    ask: gr.Button
    sentence: gr.HTML
    reading: gr.Audio
    store: gr.Button
    outcome: gr.HTML


def build(services: Services) -> Keep:
    """Lay it out; it is shown once there is a recording that can be used."""
    gate = services.voices.library.consent
    with gr.Accordion(
        "Keep it in the library", open=False, visible=False, elem_id="voice-keep"
    ) as fold:
        gr.HTML(f'<p class="voice-small">{shown(SHARED_NOTE)}</p>', js_on_load=None)
        with gr.Row():
            name = gr.Textbox(label="Name", max_lines=1, elem_id="voice-name", min_width=120)
            description = gr.Textbox(
                label="Description",
                placeholder="for example: calm and low",
                max_lines=1,
                elem_id="voice-description",
                min_width=160,
            )
        transcript = gr.Textbox(
            label="What is said in it",
            info="As it was recognized; correct it where it is wrong",
            lines=2,
            elem_id="voice-transcript",
        )
        ask = gr.Button("Show the sentence", elem_id="voice-ask", visible=gate)
        sentence = gr.HTML(elem_id="voice-sentence", js_on_load=None)
        reading = gr.Audio(
            label="Read the sentence aloud",
            sources="microphone",
            type="filepath",
            visible=False,
            elem_id="voice-reading",
            buttons=[],
        )
        store = gr.Button(
            "Check and store" if gate else "Store",
            variant="primary",
            interactive=not gate,
            elem_id="voice-store",
        )
        outcome = gr.HTML(elem_id="voice-outcome", js_on_load=None)
    return Keep(fold, name, description, transcript, ask, sentence, reading, store, outcome)


def wire(services: Services, page: gr.Blocks, keep: Keep, given: gr.State) -> gr.events.Dependency:
    """Wire it; returns what happens when something may have been stored."""
    on = Keeping(services)
    ttl = services.settings.session_ttl
    challenge, consent = (gr.State(None, time_to_live=ttl) for _ in range(2))
    #: Which recording was recognized, so that corrections stay when it is folded.
    heard = gr.State(("", ""), time_to_live=ttl)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    long: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": None,
    }
    fresh = [keep.transcript, heard, keep.sentence, keep.reading, keep.outcome, keep.store]
    keep.fold.expand(on.recognize, [given, heard], fresh, **long)
    asked = [keep.sentence, challenge, keep.reading, keep.store, keep.outcome]
    keep.ask.click(on.ask, given, asked, **quick)
    keep.reading.change(on.recorded, keep.reading, keep.store, **quick)
    page.unload(on.leave)
    described = [keep.name, keep.description, keep.transcript, heard]
    return keep.store.click(
        on.store,
        [given, *described, challenge, consent, keep.reading],
        [keep.outcome, consent, keep.sentence, keep.reading],
        **long,
    )


class Keeping:
    """Event handlers; they return what their outputs in `wire` ask for."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._library = services.voices.library
        self._running = Running()

    def recognize(
        self, given: Given | None, heard: tuple[str, str], request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Fill in what is said: transcript, heard, sentence, reading, outcome, store."""
        if given is None or heard[0] == given.sha256:
            yield (SKIP,) * 6
            return
        run = self._running.begin(request.session_hash)
        blank = (
            "",
            gr.Audio(None, visible=False),
            "",
            gr.Button(interactive=not self._library.consent),
        )
        yield gr.Textbox("", placeholder="Recognizing …"), (given.sha256, ""), *blank
        text, language = "", ""
        try:
            found = self._heard(given.reference.audio, None, run.cancel)
            text, language = found.text, found.language or ""
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            # A transcript is of use, but not needed.
            told(error)
        finally:
            run.cancel.set()
        box = gr.Textbox(text, placeholder="Type what is said")
        yield box, (given.sha256, language), *(SKIP,) * 4

    def ask(self, given: Given | None, request: gr.Request) -> tuple[Any, ...]:
        """Show a sentence to read: sentence, challenge, reading, store, outcome."""
        if given is None:
            return (SKIP,) * 5
        new = self._services.voices.gate.challenge(request.session_hash or "", given.sha256)
        html = (
            f'<p class="voice-read">“{shown(new.sentence)}”</p><p class="voice-small">The speaker '
            f"of the recording reads this aloud within {EXPIRES / 60:.0f} minutes. Parley checks "
            "the words, and that it is the same voice.</p>"
        )
        return html, new.id, gr.Audio(None, visible=True), gr.Button(interactive=False), ""

    def recorded(self, reading: str | None) -> Any:
        """The sentence was read, or the recording was taken back: store."""
        return gr.Button(interactive=reading is not None or not self._library.consent)

    def store(
        self,
        given: Given | None,
        name: str,
        description: str,
        transcript: str,
        heard: tuple[str, str],
        challenge: str | None,
        consent: Consent | None,
        reading: str | None,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Check the reading and store the voice: outcome, consent, sentence, reading."""
        cancel = self._running.begin(request.session_hash).cancel
        try:
            if given is None:
                raise InputError("There is no recording to store. Record or upload one in step 1.")
            name = checked_name(name)
            if consent is None or consent.voice != given.sha256:
                consent = None
            if self._library.consent and consent is None:
                yield notice("Listening to what was read …", "waiting"), SKIP, SKIP, SKIP
                consent = self._consent(given, challenge, reading, request, cancel)
                # Kept by the session: a name that is taken needs no second reading.
                yield SKIP, consent, SKIP, SKIP
            stored = self._library.add(
                name,
                given.reference.audio,
                origin=given.origin,
                transcript=transcript,
                description=description,
                language=heard[1],
                consent=consent,
                owner=request.username or "",
            )
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            yield notice(told(error)), SKIP, SKIP, SKIP
        else:
            done = f"Stored as {stored.name!r}. Choose it in step 1, or in the chat and talk tabs."
            yield notice(done, "good"), None, "", gr.Audio(None, visible=False)
        finally:
            cancel.set()

    def leave(self, request: gr.Request) -> None:
        """The page was closed."""
        self._running.end(request.session_hash)

    def _consent(
        self,
        given: Given,
        challenge: str | None,
        reading: str | None,
        request: gr.Request,
        cancel: Cancel,
    ) -> Consent:
        if not challenge:
            raise InputError("Press “Show the sentence” first; the speaker reads it aloud.")
        if reading is None:
            raise InputError("The sentence was not recorded yet. Press Record and read it aloud.")
        heard = self._heard(self._services.clip(reading).audio, LANGUAGE, cancel)
        spoken = self._services.recording(reading).audio
        alike = self._services.voices.similarity(spoken, given.reference.audio, cancel=cancel)
        return self._services.voices.gate.check(
            challenge,
            request.session_hash or "",
            given.sha256,
            heard=heard.text,
            similarity=alike,
            by=request.username or "",
        )

    def _heard(self, audio: Audio, language: str | None, cancel: Cancel) -> Transcript:
        heard = Transcript("", final=True)
        for event in self._services.transcribe(audio, language=language, cancel=cancel):
            if isinstance(event, Transcript):
                heard = event
        return heard
