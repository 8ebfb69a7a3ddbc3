"""The command line without a page: transcribe, speak and ask, over one file or many."""

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import soundfile
import typer
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
from speech.files import Clip
from speech.names import safe_name

logger = logging.getLogger(__name__)


commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Files = Annotated[list[Path], typer.Argument(help="Sound files of any kind and length.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="WAV file to write.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Fixes every random number.")]
VoiceName = Annotated[str | None, typer.Option(help="Name of a voice.")]


def run(services: Services, arguments: Sequence[str]) -> int:
    """Run the command that `arguments` begin with; returns the exit status."""
    desk = Desk(services)
    command = typer.main.get_command(commands)
    try:
        command.main(list(arguments), prog_name="app.py", obj=desk, standalone_mode=True)
    except SystemExit as end:
        if end.code:
            return int(end.code)
    return 1 if desk.failed else 0


@commands.command()
def transcribe(
    context: typer.Context,
    files: Files,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for a .txt a file; else to the screen."),
    ] = None,
    language: Annotated[
        str, typer.Option(help="Language spoken; en is the fastest, empty detects it.")
    ] = "",
) -> None:
    """Write down what is said in sound files."""
    desk: Desk = context.obj

    def work(file: Path) -> None:
        audio = desk.clip(file).audio
        events = desk.services.transcribe(audio, language=language or None, cancel=desk.cancel)
        text = ""
        for event in events:
            if isinstance(event, Transcript):
                text = event.text
                desk.show(event.heard / audio.seconds)
        if output is not None:
            desk.target(output, file, "txt").write_text(f"{text}\n", encoding="utf-8")
        else:
            desk.say(text if len(files) == 1 else f"{safe_name(file.name)}: {text}")

    desk.each(files, work)


@commands.command()
def speak(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to say; @FILE reads it from a file.")],
    output: Output = Path("speech.wav"),
    voice: VoiceName = None,
    seed: Seed = None,
) -> None:
    """Turn text into speech."""
    desk: Desk = context.obj

    def work(output: Path) -> None:
        words = _read_text(text, desk.services.settings.max_text)
        events = desk.services.speak(words, voice, seed=seed, cancel=desk.cancel)
        desk.write(events, output)

    desk.each([output], work)


@commands.command()
def ask(
    context: typer.Context,
    files: Files,
    output: Output = Path("reply.wav"),
    language: Annotated[
        str, typer.Option(help="Language of the questions; empty detects it.")
    ] = "en",
    voice: VoiceName = None,
    seed: Seed = None,
) -> None:
    """Ask spoken questions; of several, the output is a folder."""
    desk: Desk = context.obj
    many = len(files) > 1

    def work(file: Path) -> None:
        target = desk.target(output, file, "wav") if many else output
        if target.resolve() in {path.resolve() for path in files}:
            raise InputError(f"{target} is a question; I will not write over it.")
        events = desk.services.converse(
            Turn(desk.clip(file).audio),
            Conversation(),
            voice,
            sampling=Sampling(desk.services.settings.temperature, seed=seed),
            language=language or None,
            cancel=desk.cancel,
        )
        question, answer = desk.write(events, target)
        desk.say(f"Q: {question}\nA: {answer}")

    desk.each(files, work)


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
        self._targets: set[Path] = set()

    def each(self, files: Sequence[Path], work: Callable[[Path], None]) -> None:
        """Work on the files one by one with a progress bar; one that fails is told and skipped."""
        with self._progress as progress:
            self._task = progress.add_task("", total=len(files))
            for done, file in enumerate(files):
                self._done = done
                name = safe_name(file.name)
                progress.update(self._task, completed=done, description=name)
                try:
                    work(file)
                except (ParleyError, OSError) as error:
                    self.failed += 1
                    self.remark(f"{name}: {error}")
                except Exception:
                    logger.exception("%s failed", name)
                    self.failed += 1
                    self.remark(f"{name}: this went wrong inside Parley, see above.")

    def clip(self, file: Path) -> Clip:
        """Read a sound file; what there is to know about it is told."""
        clip = self.services.clip(file)
        for note in clip.notes:
            self.remark(f"{clip.name}: {note}")
        return clip

    def target(self, folder: Path, file: Path, suffix: str) -> Path:
        """A file in `folder` for the result of `file`; no two results share one."""
        folder.mkdir(parents=True, exist_ok=True)
        stem, number = safe_name(file.stem), 1
        target = folder / f"{stem}.{suffix}"
        while target in self._targets:
            number += 1
            target = folder / f"{stem}-{number}.{suffix}"
        self._targets.add(target)
        return target

    def show(self, part: float) -> None:
        """Say how much of the current file is done, 0 to 1."""
        self._progress.update(self._task, completed=self._done + min(1.0, part))

    def say(self, text: str) -> None:
        """Print a result."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Print what is no result."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

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


def _read_text(text: str, limit: int) -> str:
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        with path.open(encoding="utf-8") as file:
            # One more than allowed, so that the limit's own message comes, and no more.
            return file.read(limit + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"I cannot read text from {path}: {error}") from error
