"""What happens in the four steps of the voices tab."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from demos import clone_words
from demos.buttons import buttons
from demos.clone_given import Given, checked, chosen
from demos.clone_making import Wanted, make
from demos.clone_words import notice
from demos.panel import read_seed
from demos.problems import told
from demos.running import Running
from errors import CancelledError, ParleyError
from services import Services
from speech.pcm import Audio
from voices.record import Origin

SKIP = gr.skip()


class Steps:
    """Event handlers; they return what their outputs in `demos.clone` ask for.

    Args:
        services: Who does the work.
        files: Files that Gradio cleans up; those that are made are added.
    """

    def __init__(self, services: Services, files: set[str]) -> None:
        self._services = services
        self._files = files
        self._speaking = Running()
        self._checking = Running()

    def voices(self, voice: str | None) -> Any:
        """The library as it is now: the choice of voices."""
        names = [voice.name for voice in self._services.voices.library.voices()]
        return gr.Dropdown(choices=names, value=voice if voice in names else _first(names))

    def show(
        self, source: str, voice: str | None, given: Given | None, engine: str
    ) -> tuple[Any, ...]:
        """Show what is chosen: voice, clip, use, report, excerpt, keep, speak."""
        library = source == "library"
        report, audio = self._facts(source, voice, given)
        info = self._services.engine(engine).info
        return (
            gr.Dropdown(visible=library),
            gr.Audio(visible=not library),
            clone_words.use(info),
            report,
            gr.Audio(_samples(audio), visible=audio is not None),
            gr.Accordion(visible=not library and given is not None),
            gr.Button(interactive=audio is not None and info.reference is not None),
        )

    def check(
        self, path: str | None, origin: Origin, engine: str, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Check a recording: given, report, excerpt, keep, speak."""
        nothing = (gr.Audio(None, visible=False), gr.Accordion(visible=False, open=False))
        off = gr.Button(interactive=False)
        if path is None:
            self._checking.end(request.session_hash)
            yield None, "", *nothing, off
            return
        run = self._checking.begin(request.session_hash)
        yield None, notice("Checking the recording …", "waiting"), *nothing, off
        try:
            given = checked(self._services, path, origin, run.cancel)
        except CancelledError:
            # The check of a newer recording tells what there is to tell.
            yield (SKIP,) * 5
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            yield None, notice(told(error)), *nothing, off
        else:
            part = gr.Audio(_samples(given.reference.audio), visible=True)
            able = self._services.engine(engine).info.reference is not None
            keep, speak = gr.Accordion(visible=True, open=False), gr.Button(interactive=able)
            yield given, given.report, part, keep, speak
        finally:
            run.cancel.set()

    def speak(
        self,
        source: str,
        voice: str | None,
        given: Given | None,
        task: str,
        text: str,
        question: str,
        seed: str,
        engine: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Say it: status, live, players, findings, download, speak, stop."""
        if not self._speaking.reserve(request.session_hash):
            gr.Warning("Press Stop to interrupt it.", title="Still speaking")
            yield (SKIP,) * 7
            return
        cancel = self._speaking.begin(request.session_hash).cancel
        try:
            # Nothing to the stream yet: an empty one is an error to the browser's player.
            yield "", SKIP, "", "", gr.DownloadButton(visible=False), *buttons(busy=True)
            reference = chosen(self._services, source, voice, given)
            words = question if task == "ask" else text
            wanted = Wanted(words, task == "ask", read_seed(seed), engine)
            for view in make(self._services, wanted, reference, self._files, cancel):
                file = SKIP
                if view.file is not None:
                    file = gr.DownloadButton(value=str(view.file), visible=True)
                given_parts = (view.sound, view.players, view.findings)
                parts = (SKIP if part is None else part for part in given_parts)
                yield view.status, *parts, file, SKIP, SKIP
        except ParleyError as error:
            yield notice(told(error)), *(SKIP,) * 6
        finally:
            cancel.set()
        yield *(SKIP,) * 5, *buttons(busy=False)

    def stop(self, request: gr.Request) -> None:
        """End the speech that is being made."""
        self._speaking.end(request.session_hash)

    def leave(self, request: gr.Request) -> None:
        """The page was closed."""
        self._speaking.end(request.session_hash)
        self._checking.end(request.session_hash)

    def _facts(
        self, source: str, voice: str | None, given: Given | None
    ) -> tuple[str, Audio | None]:
        """What there is to know of what is chosen, and its sound."""
        if source != "library":
            return (given.report, given.reference.audio) if given else ("", None)
        try:
            reference = chosen(self._services, source, voice, given)
            stored = self._services.voices.library.find(reference.name)
        except ParleyError as error:
            return notice(told(error)), None
        return clone_words.facts(stored), reference.audio


def ask(task: str) -> tuple[Any, Any]:
    """Say a text, or ask a question: text, question."""
    return gr.Textbox(visible=task != "ask"), gr.Textbox(visible=task == "ask")


def _first(names: list[str]) -> str | None:
    return names[0] if names else None


def _samples(audio: Audio | None) -> tuple[int, Any] | None:
    # As int16 samples: for a file, Gradio would call ffprobe, which a bare machine lacks.
    return None if audio is None else (audio.rate, audio.pcm16())
