"""What cascades are put together from: recognizers, chat models, synthesizers.

Each part says what it is and which models it borrows; whether these lie on this
machine or on another one makes no difference here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest

from engines.base import EngineInfo, ReferenceUse, Voice, Wish
from engines.cascade.engine import Parts
from model_spec import ModelSpec
from settings import Settings
from weights import Store

Specs = Callable[[Settings, Store], tuple[ModelSpec, ...]]


@dataclass(frozen=True, slots=True)
class RecognizerPart:
    """What hears.

    Attributes:
        names: Of the models, by ISO 639-1 code of the speech; the empty code is for every other.
        hears: ISO 639-1 codes; "*" for all that a multilingual model knows.
        specs: Describes the models, the most wanted first.
        wishes: What it makes of a session's wishes.
    """

    names: Mapping[str, str]
    hears: tuple[str, ...]
    specs: Specs
    wishes: frozenset[Wish] = frozenset()


@dataclass(frozen=True, slots=True)
class ChatPart:
    """What thinks.

    Attributes:
        name: Of the model.
        specs: Describes it.
        can_see: Takes images.
        wishes: What it makes of a session's wishes.
    """

    name: str
    specs: Specs
    can_see: bool = False
    wishes: frozenset[Wish] = frozenset()


@dataclass(frozen=True, slots=True)
class SynthesizerPart:
    """What speaks.

    Attributes:
        name: Of the model: a `Synthesizer`, or a `StreamingSynthesizer`.
        speaks: ISO 639-1 codes.
        voices: The first is the default.
        rate: Sample rate of the speech, Hz.
        specs: Describes the models, the most wanted first.
        reference: What it makes of a recording given as a voice. For "match", the cascade
            moves the speech itself and needs an `encoder`; for "clone", a streaming
            synthesizer gets the reference.
        encoder: Name of the speaker encoder.
        wishes: What it makes of a session's wishes.
    """

    name: str
    speaks: tuple[str, ...]
    voices: tuple[Voice, ...]
    rate: int
    specs: Specs
    reference: ReferenceUse | None = None
    encoder: str | None = None
    wishes: frozenset[Wish] = frozenset()


@dataclass(frozen=True, slots=True)
class Kit:
    """The three parts of a cascade."""

    recognizer: RecognizerPart
    chat: ChatPart
    synthesizer: SynthesizerPart

    @property
    def parts(self) -> Parts:
        """The names under which the cascade borrows its models."""
        return Parts(
            self.recognizer.names, self.chat.name, self.synthesizer.name, self.synthesizer.encoder
        )

    def info(self, name: str, title: str, notes: str) -> EngineInfo:
        """What the cascade is and can do."""
        return EngineInfo(
            name=name,
            title=title,
            tasks=frozenset({"asr", "tts", "sqa", "text"}),
            hears=self.recognizer.hears,
            speaks=self.synthesizer.speaks,
            voices=self.synthesizer.voices,
            rate=self.synthesizer.rate,
            reference=self.synthesizer.reference,
            can_see=self.chat.can_see,
            wishes=self.recognizer.wishes | self.chat.wishes | self.synthesizer.wishes,
            notes=notes,
        )

    def specs(self, settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
        """Describes the models, in the order in which they are best warmed: small and first ones.

        Raises:
            InputError: If a setting names a model that cannot be one.
        """
        parts = (self.synthesizer, self.recognizer, self.chat)
        rounds = zip_longest(*(part.specs(settings, store) for part in parts))
        return tuple(spec for spec in chain.from_iterable(rounds) if spec is not None)
