"""Clips in the chat: written as they are made, shown with a waveform."""

import secrets
from pathlib import Path
from typing import Any, Self

import gradio as gr
import numpy as np
import soundfile
from gradio.components.chatbot import ComponentMessage
from gradio.utils import get_upload_folder

from engines.messages import Span
from speech.names import safe_name
from speech.pcm import Audio
from voices.marks import Made, label

#: Ends a stream: the browser's decoder plays a piece when the next is there, seconds.
CLOSING_SILENCE = 0.25

Piece = tuple[int, Any]
"""A piece of a stream: rate in Hz, int16 samples, which Gradio passes on at their level."""


def served(name: str) -> Path:
    """A new place for a file of this name, from where the page may serve it to who knows it."""
    folder = Path(get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder / safe_name(name)


def piece(chunks: list[Audio]) -> Piece | None:
    """Speech of one rate for a stream; None if there is none."""
    if not chunks:
        return None
    return chunks[0].rate, np.concatenate([chunk.pcm16() for chunk in chunks])


def closing_piece(rate: int) -> Piece:
    """What ends a stream."""
    return rate, np.zeros(int(rate * CLOSING_SILENCE), np.int16)


class ClipWriter:
    """A WAV file that grows with a reply, so that an hour of speech needs no memory.

    It lies in Gradio's own folder, which the page may serve and Gradio cleans up.

    Args:
        rate: Of what will be added, Hz.
        name: Of the file, without its ending.
        made: What the file says of itself, if the speech is in a voice of somebody's.
    """

    def __init__(self, rate: int, name: str = "parley", made: Made | None = None) -> None:
        self.path = served(f"{name}.wav")
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
