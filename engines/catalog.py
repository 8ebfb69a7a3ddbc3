"""The table of engines: what each is, needs and may be used for.

A cascade is a line that names a recognizer, a chat model and a synthesizer of the
tables here. Those on other machines are set up without code (`engines.remote.config`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from engines.base import EngineInfo, Models, SpeechEngine
from engines.cascade import embedded
from engines.cascade.engine import Cascade
from engines.cascade.kit import ChatPart, Kit, RecognizerPart, SynthesizerPart
from engines.higgs import part as higgs
from engines.needs import Requirements
from engines.opens2s import products as opens2s
from engines.remote import config, parts
from engines.vita import products as vita
from engines.vita_audio import products as vita_audio
from errors import InputError
from model_spec import ModelSpec
from settings import Settings
from weights import Store

T = TypeVar("T")


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


#: The parts of cascades, by the names that a file with engines knows them by, too.
RECOGNIZERS = {"embedded": embedded.RECOGNIZER}
CHAT_MODELS = {"embedded": embedded.CHAT_MODEL}
SYNTHESIZERS = {"embedded": embedded.SYNTHESIZER, "higgs": higgs.SYNTHESIZER}


def cascade(
    name: str,
    title: str,
    recognizer: RecognizerPart,
    chat: ChatPart,
    synthesizer: SynthesizerPart,
    *,
    licence: str,
    needs: str,
    notes: str,
    requires: Requirements = Requirements(),
    terms: str = "",
) -> Entry:
    """An engine put together from a recognizer, a chat model and a synthesizer."""
    kit = Kit(recognizer, chat, synthesizer)
    info = kit.info(name, title, notes)
    return Entry(
        info,
        licence,
        needs,
        kit.specs,
        lambda models: Cascade(info, kit.parts, models),
        requires,
        terms,
    )


CATALOG: tuple[Entry, ...] = (
    cascade(
        "embedded",
        "Embedded (CPU)",
        RECOGNIZERS["embedded"],
        CHAT_MODELS["embedded"],
        SYNTHESIZERS["embedded"],
        licence="MIT (Moonshine, Whisper), Apache-2.0 (Qwen2.5, SmolLM2, hibari)",
        needs="Any CPU, 3 GB of memory, 1.3 GB of disk",
        notes=embedded.INFO.notes,
        requires=embedded.REQUIRES,
    ),
    *(
        Entry(
            info=product.info,
            licence=product.licence,
            needs=product.needs,
            specs=product.specs,
            build=product.engine,
            requires=product.requires,
        )
        for product in opens2s.PRODUCTS
    ),
    cascade(
        "higgs",
        "Higgs Audio v2",
        RECOGNIZERS["embedded"],
        CHAT_MODELS["embedded"],
        SYNTHESIZERS["higgs"],
        licence=f"{higgs.LICENCE}; MIT (Moonshine, Whisper), Apache-2.0 (Qwen2.5)",
        needs=higgs.NEEDS,
        notes=higgs.NOTES,
        requires=embedded.REQUIRES + higgs.REQUIRES,
        terms=higgs.TERMS,
    ),
    *(
        Entry(
            info=product.info,
            licence=product.licence,
            needs=product.needs,
            specs=product.specs,
            build=product.engine,
            requires=product.requires,
        )
        for product in vita_audio.PRODUCTS
    ),
    Entry(
        info=vita.INFO,
        licence=vita.LICENCE,
        needs=vita.NEEDS,
        specs=vita.specs,
        build=vita.engine,
        requires=vita.REQUIRES,
        terms=vita.TERMS,
    ),
)


def entries(settings: Settings) -> tuple[Entry, ...]:
    """The engines of the table, and those that are set up on other machines.

    Raises:
        InputError: If what is set up cannot be used; says where and why.
    """
    return (*CATALOG, *(_set_up(engine) for engine in config.engines(settings)))


def _set_up(engine: config.Engine) -> Entry:
    hosts = ", ".join(dict.fromkeys(service.remote.host for service in engine.services))
    licence = "As the models of its parts have it"
    needs = f"A server at {hosts}" if hosts else "What its parts need"
    if (whole := parts.realtime(engine)) is not None:
        info, specs, build = whole
        return Entry(info, licence, needs, specs, build)
    return cascade(
        engine.name,
        engine.called,
        parts.recognizer(engine) or _named(RECOGNIZERS, engine.recognizer, engine),
        parts.chat(engine) or _named(CHAT_MODELS, engine.chat, engine),
        parts.synthesizer(engine) or _named(SYNTHESIZERS, engine.synthesizer, engine),
        licence=licence,
        needs=needs,
        notes=engine.notes or (f"What is said goes to {hosts}." if hosts else ""),
    )


def _named(table: Mapping[str, T], name: object, engine: config.Engine) -> T:
    if name not in table:
        known = ", ".join(table)
        raise InputError(f"The engine {engine.name!r} wants {name!r}. There is: {known}.")
    return table[str(name)]
