"""Speech in the voice of a reference, from the press on the button to the comparison."""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demos import clone_compare
from demos.clips import Piece, closing_piece, piece
from demos.clone_compare import Takes
from demos.clone_take import COMPARED, Take, recorded
from demos.clone_words import notice, shown
from demos.follow import follow
from demos.header import waiting_for
from demos.problems import told
from engines.base import Cancel, Reference
from engines.messages import AudioChunk, Conversation, Event, Notice, Sampling, TextDelta, Turn
from errors import CancelledError
from services import SEED_LIMIT, Services
from speech.level import duration_text


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be said.

    Attributes:
        text: The words, or the question.
        answered: The text is a question, and its answer is said.
        seed: Of the speech; None draws one.
        engine: Who says it.
    """

    text: str
    answered: bool
    seed: int | None
    engine: str


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows from now on; None leaves what is there.

    Attributes:
        status: A line of HTML.
        sound: Speech to append to the stream, as rate and int16 samples.
        players: The comparison, as HTML.
        findings: Similarity and pictures, as HTML.
        file: The result, to be downloaded.
    """

    status: str
    sound: Piece | None = None
    players: str | None = None
    findings: str | None = None
    file: Path | None = None


def make(
    services: Services, wanted: Wanted, reference: Reference, files: set[str], cancel: Cancel
) -> Iterator[View]:
    """Views of the speech as it is learned, made and compared; errors are told in them.

    Args:
        services: Who makes it.
        wanted: What is to be said.
        reference: In whose voice.
        files: Files that Gradio cleans up; those that are made are added.
        cancel: Stops it.
    """
    work = _Work(services, wanted, reference, files, cancel)
    try:
        yield from work.views()
    except CancelledError:
        yield View(notice("Stopped.", "waiting"), work.tail())
    except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
        yield View(notice(told(error)), work.tail())
    finally:
        cancel.set()
        work.close()


class _Work:
    """One request for speech."""

    def __init__(
        self,
        services: Services,
        wanted: Wanted,
        reference: Reference,
        files: set[str],
        cancel: Cancel,
    ) -> None:
        self._services = services
        self._files = files
        self._reference = reference
        self._cancel = cancel
        self._info = services.engine(wanted.engine).info
        # The own voice is to be drawn from the same random numbers.
        seed = secrets.randbelow(SEED_LIMIT) if wanted.seed is None else wanted.seed
        self._wanted = Wanted(wanted.text, wanted.answered, seed, wanted.engine)
        self._take: Take | None = None
        self._said = ""
        self._told: list[str] = []
        self._ahead: int | None = None

    def views(self) -> Iterator[View]:
        self._services.text(self._wanted.text)
        yield from self._learn()
        yield from self._speak()
        assert self._take is not None
        result, tail = self._take, self.tail()
        result.close()
        yield View(notice("Comparing with the engine's own voice …", "waiting"), tail)
        takes = Takes(recorded("reference", self._reference.audio), self._own(), result)
        self._files.update(str(take.path) for take in takes.named().values())
        yield View(
            notice("Measuring how close it came …", "waiting"),
            players=clone_compare.players(takes),
            file=result.path,
        )
        findings = clone_compare.findings(self._services, takes, self._cancel)
        done = (
            f"{duration_text(result.seconds)} of speech by {self._info.title}, "
            f"seed {self._wanted.seed}."
        )
        yield View(self._answer() + notice(done, "good"), findings=findings)

    def tail(self) -> Piece | None:
        """The end of the stream, if one was begun."""
        return closing_piece(self._take.rate) if self._take else None

    def close(self) -> None:
        """Close what is open."""
        if self._take is not None:
            self._take.close()

    def _learn(self) -> Iterator[View]:
        """The first time, an engine has to find out something about a reference."""
        began, stage = time.monotonic(), self._stage()
        for _ in follow(self._learning(stage), stage):
            seconds = time.monotonic() - began
            yield View(
                notice(
                    f"Learning the voice of {self._reference.name!r}: needed once, some 10 s "
                    f"({seconds:.0f} s so far). Stop ends it.",
                    "waiting",
                )
            )

    def _learning(self, cancel: Cancel) -> Iterator[Event]:
        self._services.learn(self._reference, engine=self._wanted.engine, cancel=cancel)
        yield from ()

    def _speak(self) -> Iterator[View]:
        made = self._services.voices.made(self._reference, self._info)
        stage = self._stage()
        for batch in follow(self._events(stage), stage):
            self._said += "".join(event.text for event in batch if isinstance(event, TextDelta))
            self._told += [event.text for event in batch if isinstance(event, Notice)]
            chunks = [event.audio for event in batch if isinstance(event, AudioChunk)]
            for audio in chunks:
                if self._take is None:
                    self._take = Take("parley", audio.rate, made)
                self._take.add(audio)
            waiting = "Speaking …" if self._take else waiting_for(self._services, self._ahead)
            yield View(self._answer() + notice(waiting, "waiting"), piece(chunks))

    def _events(self, cancel: Cancel) -> Iterator[Event]:
        wanted = self._wanted
        if not wanted.answered:
            return self._services.speak(
                wanted.text,
                self._reference,
                engine=wanted.engine,
                seed=wanted.seed,
                cancel=cancel,
                on_wait=self._notice,
            )
        return self._services.converse(
            Turn(text=wanted.text),
            Conversation(),
            self._reference,
            engine=wanted.engine,
            sampling=Sampling(self._services.settings.temperature, seed=wanted.seed),
            cancel=cancel,
            on_wait=self._notice,
        )

    def _stage(self) -> Cancel:
        """A flag for a part of the work: `follow` raises it when that part is over."""
        stage = Cancel()
        self._cancel.on_set(stage.set)
        return stage

    def _notice(self, ahead: int | None) -> None:
        self._ahead = ahead

    def _own(self) -> Take:
        """The beginning of the same, in the engine's own voice."""
        text = self._said if self._wanted.answered else self._wanted.text
        take = Take("own-voice", self._info.rate, self._services.voices.made_by(self._info))
        events = self._services.speak(
            text, engine=self._wanted.engine, seed=self._wanted.seed, cancel=self._cancel
        )
        for event in events:
            if isinstance(event, AudioChunk):
                take.add(event.audio)
            if take.seconds >= COMPARED:
                break
        take.close()
        return take

    def _answer(self) -> str:
        """What was answered, if that was asked for, and what should be known of it."""
        said = f'<p class="voice-answer">{shown(self._said)}</p>' if self._said else ""
        return said + "".join(notice(text) for text in self._told)
