"""Endpoints for programs: `/transcribe`, `/speak`, `/ask`; no page is behind them.

A cold start makes them wait for the models rather than fail. Each is a
generator: a program that streams sees the reply grow, one that calls gets the
last value, and one that leaves stops the model.
"""

from collections.abc import Iterator

import gradio as gr

from demos.endpoint import clip_of, grow, made_of, told, whole
from engines.base import Cancel
from engines.messages import Sampling, Turn
from engines.sight.picking import USUAL, Stretch, read_clock
from errors import InputError
from services import Services


def build(services: Services) -> None:
    """Attach the endpoints; their components are never shown."""

    def transcribe(audio: str) -> Iterator[str]:
        """Speech to text: any sound file, any language.

        Args:
            audio: The sound file.

        Returns:
            What was said.
        """
        cancel = Cancel()
        events = services.transcribe(clip_of(services, audio).audio, cancel=cancel)
        for reply in grow(events, cancel):
            yield reply.heard

    def speak(text: str, voice: str = "", seed: float | None = None) -> Iterator[str | None]:
        """Text to speech: a WAV file.

        Args:
            text: What is to be said; English.
            voice: A name from /voices; empty for the engine's own.
            seed: Fixes the random part.

        Returns:
            The sound file.
        """
        cancel = Cancel()
        events = services.speak(text, voice or None, seed=whole(seed), cancel=cancel)
        for reply in grow(events, cancel, made_of(services, voice)):
            yield reply.path

    def ask(
        audio: str | None = None,
        text: str = "",
        session: str = "",
        voice: str = "",
        images: list[str] | None = None,
        video: str | None = None,
        begin: str = "",
        end: str = "",
        frames: float = USUAL,
        request: gr.Request | None = None,
    ) -> Iterator[tuple[str, str, str | None]]:
        """A spoken or typed question, with or without pictures or a video of which it is asked.

        Calls that name the same session continue one dialogue, of which the words are kept,
        not what was shown. Without logins, so does a stranger who guesses the name.

        Args:
            audio: A sound file with the question, in English.
            text: The question in writing, or what goes with the sound.
            session: The name of a dialogue that is to be continued.
            voice: A name from /voices; empty for the engine's own.
            images: Pictures to look at (JPEG, PNG, WebP), for an engine that sees.
            video: A video to look at (mp4, mov, webm, avi): one frame a second.
            begin: Where in the video to begin: seconds, or 0:07.
            end: Where to end; empty for its end.
            frames: How many frames of it at most, 1 to 64.
            request: Who asks; the server knows.

        Returns:
            What was understood, the answer, and a sound file of it.
        """
        if not (audio or text.strip() or images or video):
            raise InputError("There is no question. Give audio, text or both.")
        info = services.engine().info
        if (images or video) and not info.can_see:
            raise InputError(info.blind)
        owner = ((request.username if request else None) or "", session)
        clip = clip_of(services, audio) if audio else None
        cancel = Cancel()
        stretch = Stretch(read_clock(begin) or 0.0, read_clock(end))
        seen = services.sight.gather(images or (), video, stretch, int(frames), cancel=cancel)
        for note in seen.notes:
            gr.Warning(note)
        turn = Turn(clip.audio if clip else None, text, seen.images, seen.frames)
        events = services.converse(
            turn,
            services.dialogues.get(owner),
            voice or None,
            sampling=Sampling(services.settings.temperature),
            language="en",
            cancel=cancel,
        )
        for reply in grow(events, cancel, made_of(services, voice)):
            if reply.finished and session:
                services.dialogues.add(owner, turn.question(reply.heard), reply.said)
            yield turn.question(reply.heard), reply.said, reply.path

    # Files rather than `gr.Audio`: that one probes its output with ffprobe, which a bare
    # machine lacks, and would take the file formats of its own choice only.
    with gr.Column(visible=False):
        sound = gr.File(label="audio", type="filepath")
        words = gr.Textbox("", label="text")
        session = gr.Textbox("", label="session")
        images = gr.File(None, label="images", file_count="multiple", type="filepath")
        video = gr.File(None, label="video", type="filepath")
        begin = gr.Textbox("", label="begin")
        end = gr.Textbox("", label="end")
        frames = gr.Number(USUAL, label="frames", precision=0)
        voice = gr.Textbox("", label="voice")
        seed = gr.Number(None, label="seed", precision=0)
        question = gr.Textbox(label="question_text")
        answer = gr.Textbox(label="reply_text")
        reply = gr.File(label="audio")
        gr.Button().click(told(transcribe), sound, words, api_name="transcribe")
        gr.Button().click(told(speak), [words, voice, seed], reply, api_name="speak")
        shown = [images, video, begin, end, frames]
        gr.Button().click(
            told(ask),
            [sound, words, session, voice, *shown],
            [question, answer, reply],
            api_name="ask",
        )
