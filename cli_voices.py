"""The commands that speak in given voices: clone and batch."""

from pathlib import Path
from typing import Annotated

import typer

from cli_desk import Desk, read_text
from engines.base import Reference
from errors import InputError
from services import VOICE_RATE
from voice_batch import BatchSpeaker
from voices.batch import zip_batch
from voices.batch_jobs import read_jobs

#: What a file of a reference ends in; other voices of a batch are names.
SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".webm", ".opus", ".aac"}

Engine = Annotated[str | None, typer.Option(help="Engine that speaks; else that of the settings.")]


def clone(
    context: typer.Context,
    texts: Annotated[list[str], typer.Argument(help="What to say; @FILE reads it from a file.")],
    reference: Annotated[
        list[str], typer.Option(help="A sound file, or the name of a voice; several in turn.")
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="WAV file; of several results, a folder."),
    ] = Path("clone.wav"),
    engine: Engine = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Fixes every random number.")] = None,
) -> None:
    """Speak texts in the voices of recordings: each text in each.

    What an engine makes of a recording differs: the embedded one moves its own voice
    towards it, which is no clone.
    """
    desk: Desk = context.obj
    many = len(texts) * len(reference) > 1
    wanted = [(name, text) for name in reference for text in texts]
    voices = _References(desk, Path())

    def work(item: Path) -> None:
        name, text = wanted[int(item.name)]
        voice = voices.find(name) or name
        words = read_text(text, desk.services.settings.max_text)
        target = output
        if many:
            target = desk.target(output, Path(f"{Path(name).stem}-{item.name}"), "wav")
        events = desk.services.speak(words, voice, engine=engine, seed=seed, cancel=desk.cancel)
        desk.write(events, target, desk.made(voice, engine))

    desk.each([Path(str(number)) for number in range(len(wanted))], work)


def batch(
    context: typer.Context,
    jobs: Annotated[Path, typer.Argument(help="CSV or JSONL: text, voice, seed, name.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the results; else beside the file."),
    ] = None,
    engine: Engine = None,
) -> None:
    """Speak a list of texts, each in its voice; what is done already is not done again."""
    desk: Desk = context.obj
    folder = output or jobs.with_suffix("")

    def work(_: Path) -> None:
        listed = read_jobs(jobs, max_text=desk.services.settings.max_text)
        voices = _References(desk, jobs.parent)
        speaker = BatchSpeaker(desk.services, engine, desk.cancel, voices.find)
        for step in speaker.run(listed, folder):
            desk.show((step.number - (step.state == "speaking")) / step.total)
            if step.outcome is not None and step.state == "failed":
                desk.failed += 1
                desk.remark(f"line {step.job.line}: {step.outcome.error}")
        archive = folder.with_name(f"{folder.name}.zip")
        zip_batch(folder, archive)
        desk.say(str(archive))

    desk.each([jobs], work)


class _References:
    """References from files, each read once.

    Args:
        desk: Reads and remarks.
        folder: What relative names are relative to.
    """

    def __init__(self, desk: Desk, folder: Path) -> None:
        self._desk = desk
        self._folder = folder
        self._known: dict[str, Reference] = {}

    def find(self, name: str) -> Reference | None:
        """The reference in a file; None if the name is not one of a sound file.

        Raises:
            InputError: If there is no such file, or nothing usable in it.
        """
        path = self._folder / name
        if path.suffix.lower() not in SOUNDS:
            return None
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
        if name not in self._known:
            clip = self._desk.clip(path, VOICE_RATE)
            self._known[name] = self._desk.services.voices.from_recording(
                clip, cancel=self._desk.cancel
            )
        return self._known[name]
