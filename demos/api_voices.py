"""Endpoints for programs that bring voices: `/clone`, `/voices`, `/similarity`."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from demos.endpoint import clip_of, grow, made_of, told, whole
from engines.base import Cancel
from services import VOICE_RATE, Services
from speech.speaker import meaning


def build(services: Services) -> None:
    """Attach the endpoints; their components are never shown."""

    def clone(
        text: str, reference: str, engine: str = "", seed: float | None = None
    ) -> Iterator[str | None]:
        """Text to speech with a recording as the voice.

        What an engine makes of it, /voices tells: only "clone" speaks in that voice.

        Args:
            text: What is to be said.
            reference: A sound file of 3 to 30 s with one person speaking.
            engine: The name of an engine; empty for the default one.
            seed: Fixes the random part.

        Returns:
            The sound file.
        """
        cancel = Cancel()
        voice = services.voices.from_recording(
            clip_of(services, reference, VOICE_RATE), cancel=cancel
        )
        events = services.speak(text, voice, engine=engine or None, seed=whole(seed), cancel=cancel)
        for reply in grow(events, cancel, made_of(services, voice, engine)):
            yield reply.path

    def voices(engine: str = "") -> Iterator[dict[str, Any]]:
        """What an engine makes of a reference, its own voices, and those of the library."""
        info = services.engine(engine or None).info
        own = [{"name": voice.name, "description": voice.description} for voice in info.voices]
        kept = [
            {
                "name": voice.name,
                "description": voice.record.description,
                "origin": voice.record.origin,
                "seconds": voice.record.seconds,
            }
            for voice in services.voices.library.voices()
        ]
        yield {"engine": info.name, "reference": info.reference, "own": own, "library": kept}

    def similarity(a: str, b: str) -> Iterator[dict[str, Any]]:
        """How alike the speakers of two clips sound, 0 to 1, and what that means."""
        found = services.voices.similarity(
            clip_of(services, a).audio, clip_of(services, b).audio, cancel=Cancel()
        )
        yield {"similarity": round(found, 3), "meaning": meaning(found)}

    with gr.Column(visible=False):
        words = gr.Textbox(label="text")
        engine = gr.Textbox("", label="engine")
        seed = gr.Number(None, label="seed", precision=0)
        reference, first, second = (
            gr.File(label=name, type="filepath") for name in ("reference", "a", "b")
        )
        reply = gr.File(label="audio")
        found = gr.JSON(label="found")
        gr.Button().click(told(clone), [words, reference, engine, seed], reply, api_name="clone")
        gr.Button().click(told(voices), engine, found, api_name="voices")
        gr.Button().click(told(similarity), [first, second], found, api_name="similarity")
