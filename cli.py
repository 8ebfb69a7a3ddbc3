"""The command line without a page: transcribe, speak and ask, over one file or many."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import soundfile
from pydantic import AliasChoices, BaseModel, Field
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.progress import Progress, TaskID, TimeElapsedColumn

from engines.base import (
    AudioChunk,
    Cancel,
    Conversation,
    Event,
    Finished,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
)
from errors import InputError, ParleyError
from services import Services
from speech.names import safe_name

OUTPUT = AliasChoices("o", "output")


class Transcribe(BaseModel):
    """Write down what is said in sound files."""

    files: CliPositionalArg[list[Path]] = Field(description="Sound files of any kind and length.")
    language: str = Field(
        "", description="Language spoken (en picks the fastest recognizer); empty detects it."
    )
    output: Path | None = Field(
        None, validation_alias=OUTPUT, description="Folder for one .txt a file; else to the screen."
    )

    def run(self, desk: "Desk") -> None:
        """Transcribe every file."""

        def work(file: Path) -> None:
            audio = desk.services.clip(file).audio
            events = desk.services.transcribe(
                audio, language=self.language or None, cancel=desk.cancel
            )
            text = ""
            for event in events:
                if isinstance(event, Transcript):
                    text = event.text
                    desk.show(event.heard / audio.seconds)
            if self.output is None:
                desk.say(text if len(self.files) == 1 else f"{file}: {text}")
            else:
                self.output.mkdir(parents=True, exist_ok=True)
                (self.output / f"{safe_name(file.stem)}.txt").write_text(text + "\n")

        desk.each(self.files, work)


class Speak(BaseModel):
    """Turn text into speech."""

    text: CliPositionalArg[str] = Field(description="What to say; @FILE reads it from a file.")
    output: Path = Field(
        Path("speech.wav"), validation_alias=OUTPUT, description="WAV file to write."
    )
    voice: str | None = Field(None, description="Name of a voice.")
    seed: int | None = Field(None, description="Fixes the random part of the synthesis.")

    def run(self, desk: "Desk") -> None:
        """Speak the text into the file."""

        def work(output: Path) -> None:
            text = _read_text(self.text)
            events = desk.services.speak(text, self.voice, seed=self.seed, cancel=desk.cancel)
            desk.write(events, output)

        desk.each([self.output], work)


class Ask(BaseModel):
    """Ask spoken questions and get spoken answers."""

    files: CliPositionalArg[list[Path]] = Field(description="Sound files with a question each.")
    output: Path = Field(
        Path("reply.wav"),
        validation_alias=OUTPUT,
        description="WAV file to write; a folder when there are several questions.",
    )
    language: str = Field("en", description="Language of the questions; empty detects it.")
    voice: str | None = Field(None, description="Name of a voice.")
    seed: int | None = Field(None, description="The same seed gives the same answer.")

    def run(self, desk: "Desk") -> None:
        """Answer every file by itself."""
        many = len(self.files) > 1

        def work(file: Path) -> None:
            output = self.output / f"{safe_name(file.stem)}.wav" if many else self.output
            events = desk.services.converse(
                Turn(desk.services.clip(file).audio),
                Conversation(),
                self.voice,
                sampling=Sampling(seed=self.seed),
                language=self.language or None,
                cancel=desk.cancel,
            )
            question, answer = desk.write(events, output)
            desk.say(f"Q: {question}\nA: {answer}")

        desk.each(self.files, work)


Command = Transcribe | Speak | Ask


class Desk:
    """What a command needs: the services, a progress bar, a place for its results."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.cancel = Cancel()
        self.failed = 0
        # Results go to stdout and nothing else does, so that they can be piped.
        self._progress = Progress(
            *Progress.get_default_columns()[:3],
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = TaskID(0)
        self._done = 0

    def each(self, files: Sequence[Path], work: Callable[[Path], None]) -> None:
        """Work on the files one by one with a progress bar; one that fails is told and skipped."""
        with self._progress as progress:
            self._task = progress.add_task("", total=len(files))
            for done, file in enumerate(files):
                self._done = done
                progress.update(self._task, completed=done, description=safe_name(file.name))
                try:
                    work(file)
                except ParleyError as error:
                    self.failed += 1
                    progress.console.print(f"{file}: {error}", markup=False, highlight=False)

    def show(self, part: float) -> None:
        """Say how much of the current file is done, 0 to 1."""
        self._progress.update(self._task, completed=self._done + min(1.0, part))

    def say(self, text: str) -> None:
        """Print a result."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def write(self, events: Iterable[Event], output: Path) -> tuple[str, str]:
        """Write the speech of a reply to a file; returns the question and the answer."""
        question, answer = "", ""
        with ExitStack() as stack:
            sound: soundfile.SoundFile | None = None
            for event in events:
                match event:
                    case Transcript():
                        question = event.text
                    case TextDelta():
                        answer += event.text
                    case AudioChunk():
                        if sound is None:
                            sound = stack.enter_context(_wav(output, event.audio.rate))
                        sound.write(event.audio.pcm16())
                    case Finished():
                        pass
        return question, answer


def _wav(path: Path, rate: int) -> soundfile.SoundFile:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return soundfile.SoundFile(path, "w", rate, 1, "PCM_16", format="WAV")
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"I cannot write {path}: {error}") from error


def _read_text(text: str) -> str:
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"I cannot read text from {path}: {error}") from error
