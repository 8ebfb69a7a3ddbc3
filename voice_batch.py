"""A batch spoken by an engine: the voices of its jobs, found once, measured and marked."""

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from engines.base import Cancel, Reference
from engines.messages import AudioChunk
from errors import ParleyError
from services import Services
from speech.pcm import Audio
from voices.batch import Step, run_batch
from voices.batch_jobs import Job
from voices.marks import Made
from voices.record import content_hash


class BatchSpeaker:
    """What `voices.batch.run_batch` asks for; for one run.

    Args:
        services: Engines and the library.
        engine: Name of the engine; None is the one in the settings.
        cancel: Stops the batch.
        find: Gives a reference for names that are in no library (files), else None.
    """

    def __init__(
        self,
        services: Services,
        engine: str | None,
        cancel: Cancel,
        find: Callable[[str], Reference | None] = lambda name: None,
    ) -> None:
        self._services = services
        self._info = services.engine(engine).info
        self._cancel = cancel
        self._find = find
        self._known: dict[str, str | Reference | None] = {}

    def run(self, jobs: Sequence[Job], folder: Path) -> Generator[Step]:
        """Work the jobs off; see `voices.batch.run_batch`."""
        return run_batch(
            jobs,
            folder,
            self.speak,
            cancel=self._cancel,
            measure=self.measure,
            made=self.made,
            fingerprint=self.fingerprint,
        )

    def speak(self, text: str, voice: str, seed: int | None) -> Iterator[AudioChunk]:
        """Speak one job; an empty voice is the engine's first."""
        events = self._services.speak(
            text, self._voice(voice), engine=self._info.name, seed=seed, cancel=self._cancel
        )
        return (event for event in events if isinstance(event, AudioChunk))

    def measure(self, audio: Audio, voice: str) -> float | None:
        """How near speech came to its reference, 0 to 1; None where there is none."""
        reference = self._voice(voice)
        if not isinstance(reference, Reference):
            return None
        return self._services.voices.similarity(audio, reference.audio, cancel=self._cancel)

    def made(self, job: Job) -> Made | None:
        """What the file of a job says of itself."""
        return self._services.voices.made(self._voice(job.voice), self._info)

    def fingerprint(self, job: Job) -> str:
        """What the result depends on beside the job: a changed voice is spoken again."""
        try:
            voice = self._voice(job.voice)
        except ParleyError:
            return ""  # Told when it is to be spoken with.
        heard = content_hash(voice.audio) if isinstance(voice, Reference) else voice
        return f"{self._info.name} {heard}"

    def _voice(self, name: str) -> str | Reference | None:
        if name not in self._known:
            voice = self._find(name) or name or None
            self._known[name] = self._services.voices.resolved(voice, self._info)
        return self._known[name]
