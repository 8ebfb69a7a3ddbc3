"""Clips in the chat: written as they are made, shown with a waveform."""

import secrets
from pathlib import Path
from typing import Any, Self

import gradio as gr
import soundfile
from gradio.components.chatbot import ComponentMessage
from gradio.utils import get_upload_folder

from engines.base import Span
from speech.pcm import Audio
from voices.marks import Made, label


class ClipWriter:
    """A WAV file that grows with a reply, so that an hour of speech needs no memory.

    It lies in Gradio's own folder, which the page may serve and Gradio cleans up.

    Args:
        rate: Of what will be added, Hz.
        name: Of the file, without its ending.
        made: What the file says of itself, if the speech is in a voice of somebody's.
    """

    def __init__(self, rate: int, name: str = "parley", made: Made | None = None) -> None:
        folder = Path(get_upload_folder()) / secrets.token_hex(16)
        folder.mkdir(parents=True)
        self.path = folder / f"{name}.wav"
        self._file = soundfile.SoundFile(self.path, "w", rate, 1, "PCM_16")
        if made is not None:
            label(self._file, made)

    def add(self, audio: Audio) -> None:
        """Append speech at the clip's rate."""
        self._file.write(audio.pcm16())

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


class Player:
    """Makes players for the chat.

    Built with the page: inside an event handler Gradio takes a new component for
    an update of an old one. The chat is given the finished message rather than a
    `gr.Audio`, which it would build, and probe with ffprobe, at every token.
    """

    def __init__(self) -> None:
        self._props: dict[str, Any] = gr.Audio(
            render=False,
            interactive=False,
            show_label=False,
            container=False,
            buttons=["download"],
        ).get_config()

    def show(self, path: str | Path, spans: tuple[Span, ...] = ()) -> ComponentMessage:
        """A player of a file, with `spans` as subtitles."""
        subtitles = [{"start": s.start, "end": s.end, "text": s.text} for s in spans]
        return ComponentMessage(
            component="audio",
            value={"path": str(path), "meta": {"_type": "gradio.FileData"}},
            constructor_args={"render": False},
            props={**self._props, "subtitles": subtitles or None},
        )
