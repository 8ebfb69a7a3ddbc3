"""What the commands share: the services, a progress bar, a place for results."""

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import soundfile
from rich.console import Console
from rich.progress import Progress, TaskID, TimeElapsedColumn

from engines.base import Cancel, Reference
from engines.cascade.parts import RECOGNIZER_RATE
from engines.messages import AudioChunk, Event, Finished, Notice, TextDelta, Transcript, Unanswered
from engines.sight.picking import Stretch, read_clock
from errors import InputError, ParleyError
from services import Services
from sight_desk import Seen
from speech.files import Clip
from speech.names import safe_name
from voices.marks import Made, label

logger = logging.getLogger(__name__)


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

    def clip(self, file: Path, rate: int = RECOGNIZER_RATE) -> Clip:
        """Read a sound file; what there is to know about it is told."""
        clip = self.services.clip(file, rate)
        for note in clip.notes:
            self.remark(f"{clip.name}: {note}")
        return clip

    def seen(
        self, pictures: Sequence[Path], video: Path | None, begin: str, end: str, frames: int
    ) -> Seen | None:
        """Read what is shown with a question; None if it cannot be used, which is told."""
        info = self.services.engine().info
        try:
            if (pictures or video) and not info.can_see:
                raise InputError(info.blind)
            stretch = Stretch(read_clock(begin) or 0.0, read_clock(end))
            seen = self.services.sight.gather(pictures, video, stretch, frames, cancel=self.cancel)
        except ParleyError as error:
            self.failed += 1
            self.remark(str(error))
            return None
        for note in seen.notes:
            self.remark(note)
        return seen

    def made(self, voice: str | Reference | None, engine: str | None = None) -> Made | None:
        """What a file of speech in this voice says of itself."""
        return self.services.voices.made(voice, self.services.engine(engine).info)

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

    def write(
        self, events: Iterable[Event], output: Path, made: Made | None = None
    ) -> tuple[str, str]:
        """Write the speech of a reply to a file; returns the question and the answer.

        Args:
            events: The reply.
            output: The file.
            made: What the file says of itself, if the voice is somebody's.
        """
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
                            if made is not None:
                                label(sound, made)
                        sound.write(event.audio.pcm16())
                    case Notice() | Unanswered():
                        sys.stderr.write(f"{event.text}\n")
                    case Finished():
                        pass
        return question, answer


def _wav(path: Path, rate: int) -> soundfile.SoundFile:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return soundfile.SoundFile(path, "w", rate, 1, "PCM_16", format="WAV")
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"I cannot write {path}: {error}") from error


def read_text(text: str, limit: int) -> str:
    """A text as it stands, or what is in the file after an @, up to one more than `limit`."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        with path.open(encoding="utf-8") as file:
            # One more than allowed, so that the limit's own message comes, and no more.
            return file.read(limit + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"I cannot read text from {path}: {error}") from error
