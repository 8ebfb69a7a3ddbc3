"""What the page, the API and the command line are all made of.

A request comes in here, is checked against the limits, waits for its models and
its turn, and is handed to an engine. Nothing here knows who asked.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from devices import Gpu, gpus
from dialogues import Dialogues
from engine_desk import EngineDesk
from engines.base import (
    Adaptable,
    Anticipating,
    Cancel,
    Detailing,
    EngineInfo,
    Learning,
    Reference,
    SpeechEngine,
    Task,
    Wishes,
)
from engines.cascade.parts import RECOGNIZER_RATE
from engines.catalog import Entry, entries
from engines.messages import Conversation, Event, Sampling, Transcript, Turn, Waiting
from engines.needs import Fit
from engines.remote.parts import DEVICE as REMOTE
from errors import InputError
from model_loader import ModelHolder, default_budgets
from monitor.watch import See, Watch
from settings import Settings
from sight_desk import Sight
from speech.files import Clip, ClipLimits, from_samples, read_clip
from speech.pcm import Audio
from turnstile import Turnstile
from voice_desk import Voices
from weights import Store

logger = logging.getLogger(__name__)

#: After this time a load that failed is tried again when somebody asks, seconds.
RETRY_AFTER = 60.0

#: Larger ones have no room in the samplers of the models; the very last means "random" to some.
SEED_LIMIT = 2**32 - 1

#: Rate of references, Hz: as much of a voice as the synthesizers here speak with.
VOICE_RATE = 24_000

OnWait = Callable[[int | None], None]
"""Told how many requests come before, those that are worked on included, each time that changes;
and None when it is one's turn."""


class Services:
    """Engines, the models they borrow, and the rules of the house.

    Attributes:
        budgets: Bytes that models may take, by device.
        desk: The engines: what they need, what they are doing, loaded by hand.
        sight: Reads pictures and videos.

    Args:
        settings: The rules.
        catalog: The engines that can be chosen; None are those of the table and of the settings.

    Raises:
        InputError: If what the settings say of engines cannot be used.
    """

    def __init__(self, settings: Settings, catalog: Sequence[Entry] | None = None) -> None:
        self.settings = settings
        catalog = entries(settings) if catalog is None else catalog
        self.store = Store(settings.data / "weights", offline=settings.offline)
        here = gpus()
        self.budgets = _budgets(settings, here)
        self.models = ModelHolder(self.budgets, settings.idle_unload or None, RETRY_AFTER)
        self.turnstile = Turnstile(settings.max_active, settings.max_queue)
        self.watch = Watch(
            lambda: self.turnstile.active, lambda: self.turnstile.waiting, self.models.status
        )
        self.dialogues = Dialogues(settings.max_sessions, settings.session_ttl)
        self.sight = Sight(settings)
        self.voices = Voices(settings, self.models, self.store, catalog)
        self.entries = {entry.info.name: entry for entry in catalog}
        self.desk = EngineDesk(settings, self.models, self.store, catalog, self.budgets, here)
        self._limits = ClipLimits(
            max_bytes=settings.max_upload,
            max_seconds=settings.max_audio,
            bytes_setting="PARLEY_MAX_UPLOAD",
            seconds_setting="PARLEY_MAX_AUDIO",
        )
        devices = {status.device for status in self.models.status()}
        if settings.device == "cuda" and devices <= {"cpu", REMOTE}:
            logger.warning("No engine here runs on a GPU; --device cuda changes nothing.")

    def start(self) -> None:
        """Begin the work in the background: warm-up and the unloading of idle models."""
        self.models.start()
        self.watch.start()
        if self.settings.warm:
            self.models.warm([spec.name for spec in self.desk.specs(self.settings.engine)])

    def close(self) -> None:
        """Stop what runs and free every model."""
        self.watch.close()
        self.models.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def engine(self, name: str | None = None) -> SpeechEngine:
        """An engine by name; None is the one in the settings.

        Raises:
            InputError: If there is none of that name.
            UnavailableError: If it cannot be made with these settings.
        """
        return self.desk.engine(name or self.settings.engine)

    def fit(self, name: str | None = None) -> Fit:
        """Whether an engine can run here, and if not, why and what would help.

        Raises:
            InputError: If there is none of that name.
        """
        return self.desk.fit(name or self.settings.engine)

    def info(self, name: str | None = None) -> EngineInfo:
        """What an engine is and can do here: its voices are followed by those of the library."""
        return self.voices.offered(self.engine(name).info)

    def infos(self) -> list[EngineInfo]:
        """The engines that can be chosen."""
        return [entry.info for entry in self.entries.values()]

    def clip(
        self, source: str | Path | tuple[int, Any] | None, rate: int = RECOGNIZER_RATE
    ) -> Clip:
        """Read a sound file, or samples as Gradio gives them.

        Args:
            source: The file, or rate and samples.
            rate: Of the clip, Hz: as for recognition, or `VOICE_RATE`.

        Raises:
            InputError: If it is no sound, or beyond the limits; the message says what to do.
        """
        if source is None:
            raise InputError("There is no sound yet. Record something or choose a file.")
        if isinstance(source, tuple):
            given, samples = source
            return from_samples(given, samples, rate=rate, limits=self._limits)
        return read_clip(source, rate, self._limits)

    def recording(self, source: str | Path | tuple[int, Any] | None) -> Clip:
        """Read a sound file, or samples as Gradio gives them, as a reference: at `VOICE_RATE`.

        Raises:
            InputError: See `clip`.
        """
        return self.clip(source, VOICE_RATE)

    def text(self, text: str | None) -> str:
        """Check a text against the limits.

        Raises:
            InputError: If it is empty or too long.
        """
        if not (text or "").strip():
            raise InputError("There is no text yet. Type something first.")
        assert text is not None
        if len(text) > self.settings.max_text:
            raise InputError(
                f"This text has {len(text):,} characters; the limit is "
                f"{self.settings.max_text:,} (PARLEY_MAX_TEXT). Shorten it or cut it into parts."
            )
        # Browsers can send half a surrogate pair; no tokenizer takes one.
        return text.encode("utf-8", "replace").decode("utf-8")

    def transcribe(
        self,
        audio: Audio,
        *,
        engine: str | None = None,
        language: str | None = None,
        words: bool = False,
        prompt: str = "",
        wishes: Wishes = Wishes(),
        cancel: Cancel,
        on_wait: OnWait | None = None,
    ) -> Iterator[Event]:
        """Recognize speech; see `SpeechEngine.transcribe`.

        With `words` each span is a word; a prompt tells how names are spelled. Not every
        engine can do that: see `Detailing`.
        """
        chosen = self._adapted(engine, wishes)
        if words or prompt:
            if not isinstance(chosen, Detailing):
                raise InputError(
                    f"{chosen.info.title} times no words and takes no prompt. "
                    "Choose another engine, or ask without them."
                )
            prompt = self.text(prompt) if prompt else ""
            with self._admitted(chosen, "asr", None, cancel, on_wait) as see:
                yield from see(
                    chosen.transcribe_words(audio, language=language, prompt=prompt, cancel=cancel)
                )
            return
        with self._admitted(chosen, "asr", language, cancel, on_wait) as see:
            yield from see(chosen.transcribe(audio, language=language, cancel=cancel))

    def speak(
        self,
        text: str,
        voice: str | Reference | None = None,
        *,
        engine: str | None = None,
        seed: int | None = None,
        wishes: Wishes = Wishes(),
        cancel: Cancel,
        on_wait: OnWait | None = None,
    ) -> Iterator[Event]:
        """Synthesize speech in a voice of the engine, of the library, or of a reference.

        See `SpeechEngine.speak`.
        """
        text = self.text(text)
        _check_seed(seed)
        chosen = self._adapted(engine, wishes)
        voice = self.voices.resolved(voice, chosen.info)
        with self._admitted(chosen, "tts", None, cancel, on_wait) as see:
            events = see(chosen.speak(text, voice, seed=seed, cancel=cancel))
            yield from self.voices.watermarked(events, voice)

    def learn(self, voice: str | Reference, *, engine: str | None = None, cancel: Cancel) -> None:
        """Do now what the first reply in a voice of the library would wait for.

        Raises:
            InputError: If the engine cannot speak in it.
            CancelledError: If `cancel` was set.
        """
        chosen = self.engine(engine)
        known = self.voices.resolved(voice, chosen.info)
        if isinstance(known, Reference) and isinstance(chosen, Learning):
            chosen.learn(known, cancel=cancel)

    def converse(
        self,
        turn: Turn,
        conversation: Conversation,
        voice: str | Reference | None = None,
        *,
        engine: str | None = None,
        sampling: Sampling = Sampling(),
        language: str | None = None,
        spoken: bool = True,
        wishes: Wishes = Wishes(),
        cancel: Cancel,
        on_wait: OnWait | None = None,
        live: bool = False,
    ) -> Iterator[Event]:
        """Answer a turn, in a voice as for `speak`; see `SpeechEngine.converse`.

        A live turn is told to the monitor by itself, with what is known of it there.
        """
        if turn.text.strip() or (turn.audio is None and not turn.seen):
            turn = replace(turn, text=self.text(turn.text))
        _check_seed(sampling.seed)
        chosen = self._adapted(engine, wishes)
        shown = turn.seen or any(message.seen for message in conversation.messages)
        if shown and not chosen.info.can_see:
            raise InputError(chosen.info.blind)
        voice = self.voices.resolved(voice, chosen.info)
        task: Task = "sqa" if spoken else "text"
        with self._admitted(chosen, task, language, cancel, on_wait, live=live) as see:
            events = chosen.converse(
                turn,
                conversation,
                voice,
                sampling=sampling,
                language=language,
                spoken=spoken,
                cancel=cancel,
            )
            yield from self.voices.watermarked(see(events), voice)

    def prepare(
        self,
        turn: Turn,
        conversation: Conversation,
        *,
        engine: str | None = None,
        language: str | None = None,
        spoken: bool = True,
        wishes: Wishes = Wishes(),
        cancel: Cancel,
    ) -> Iterator[Transcript]:
        """Get ready to answer, where the engine can; see `Anticipating`.

        Those who wait for an answer come first: this passes no turnstile, and while
        anybody is being answered it tells what it heard and does no more.
        """
        chosen = self._adapted(engine, wishes)
        if not isinstance(chosen, Anticipating):
            return
        with closing(
            chosen.prepare(turn, conversation, language=language, spoken=spoken, cancel=cancel)
        ) as events:
            for event in events:
                yield event
                if self.turnstile.active:
                    return

    def choices(
        self, wishes: Wishes, *, engine: str | None = None, cancel: Cancel
    ) -> tuple[str, ...]:
        """Chat models of an engine's server that can be wished for; none if it lies on none.

        Raises:
            UnavailableError: If the server does not tell.
        """
        chosen = self.engine(engine)
        return chosen.choices(wishes, cancel) if isinstance(chosen, Adaptable) else ()

    def _adapted(self, name: str | None, wishes: Wishes) -> SpeechEngine:
        """An engine as a session wishes it, as far as it heeds that."""
        engine = self.engine(name)
        heeded = wishes.heeded(engine.info.wishes)
        return engine.adapted(heeded) if heeded and isinstance(engine, Adaptable) else engine

    @contextmanager
    def _admitted(
        self,
        engine: SpeechEngine,
        task: Task,
        language: str | None,
        cancel: Cancel,
        on_wait: OnWait | None,
        *,
        live: bool = False,
    ) -> Iterator[See]:
        """Wait for the models, then for a turn; the monitor sees how it goes and ends."""
        with self.watch.request(task, engine.info.name, live=live) as see:
            if task not in engine.info.tasks:
                raise InputError(
                    f"{engine.info.title} cannot do this. Choose another engine or task."
                )
            self.desk.require(engine.info.name)
            names = engine.models(task, language)
            # In this order: whoever waits for a download must not keep others from working.
            waits = _Waits(on_wait, self.turnstile)
            with (
                self.models.use(*names, cancel=cancel),
                self.turnstile.enter(cancel, waits.for_a_place),
            ):
                waits.over()
                yield lambda events: waits.told_of(see(events))


class _Waits:
    """Tells whoever asked how many come before: at the door, and then in the engine."""

    def __init__(self, on_wait: OnWait | None, door: Turnstile) -> None:
        self._tell = on_wait or (lambda ahead: None)
        self._door = door

    def for_a_place(self, position: int) -> None:
        """So many wait at the door before it."""
        self._tell(position + self._door.active)

    def over(self) -> None:
        """It is its turn."""
        self._tell(None)

    def told_of(self, events: Iterator[Event]) -> Iterator[Event]:
        """The events of a reply, without those that tell of waiting."""
        waits = False
        for event in events:
            if isinstance(event, Waiting):
                waits = True
                self._tell(event.ahead)
                continue
            if waits:
                waits = False
                self.over()
            yield event


def _budgets(settings: Settings, here: Sequence[Gpu]) -> dict[str, int]:
    """Bytes that models may take, by device; only of devices that may be used."""
    used = () if settings.device == "cpu" else here
    limits = {"cpu": settings.memory_budget} | {
        gpu.device: settings.gpu_memory_budget for gpu in used
    }
    budgets = default_budgets({device: limit for device, limit in limits.items() if limit}, used)
    return {**budgets, REMOTE: 0}  # What lies on other machines takes no memory here.


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < SEED_LIMIT:
        raise InputError(f"A seed is a whole number from 0 to {SEED_LIMIT - 1:,}, not {seed:,}.")
