"""The table of engines: what each is, needs and may be used for."""

from collections.abc import Callable
from dataclasses import dataclass, field

from engines.base import EngineInfo, Models, SpeechEngine
from engines.cascade import embedded
from engines.needs import Requirements
from model_spec import ModelSpec
from settings import Settings
from weights import Store


@dataclass(frozen=True, slots=True)
class Entry:
    """An engine that can be chosen.

    Attributes:
        info: What it is and can do.
        licence: Of its weights, for people.
        needs: Device and memory, for people.
        specs: Describes its models; models of one name are shared between engines.
        build: Makes the engine; cheap, since models are borrowed by the request.
        requires: Download, packages and whatever else the page tells before it is loaded.
        terms: What a person has to agree to before its models are loaded, in a sentence
            or two; empty: nothing.
    """

    info: EngineInfo
    licence: str
    needs: str
    specs: Callable[[Settings, Store], tuple[ModelSpec, ...]]
    build: Callable[[Models], SpeechEngine]
    requires: Requirements = field(default_factory=Requirements)
    terms: str = ""


CATALOG: tuple[Entry, ...] = (
    Entry(
        info=embedded.INFO,
        licence="MIT (Moonshine, Whisper), Apache-2.0 (Qwen2.5, SmolLM2, hibari)",
        needs="Any CPU, 3 GB of memory, 1.3 GB of disk",
        specs=embedded.specs,
        build=embedded.engine,
        requires=embedded.REQUIRES,
    ),
)
