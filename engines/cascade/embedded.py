"""The embedded default: real trained models that answer on a machine with no GPU.

Which weights, from where, under which licence: `weights.table`.
"""

import logging
from collections.abc import Callable
from typing import Any

from engines import speaker
from engines.base import Models
from engines.cascade.answering import SPOKEN_PROMPT
from engines.cascade.engine import Cascade
from engines.cascade.hibari import Hibari
from engines.cascade.kit import ChatPart, Kit, RecognizerPart, SynthesizerPart
from engines.cascade.llama import Llama
from engines.cascade.moonshine import Moonshine
from engines.cascade.whisper import Whisper
from engines.fetch import fetch
from engines.needs import Requirements
from errors import UnavailableError
from model_spec import LoadReport, ModelSpec
from settings import Settings
from speech.speaker import WEIGHTS
from weights import Key, Store, user_weights

logger = logging.getLogger(__name__)

#: Names under which the parts are borrowed.
MOONSHINE, WHISPER, CHAT, HIBARI = "moonshine-tiny-en", "whisper-base", "chat", "hibari"

#: Chat models of the table by the word on the command line.
DEFAULT_CHAT, SMALL_CHAT = "qwen2.5-1.5b", "smollm2-135m"

#: Resident memory once loaded and warm, bytes (measured on Linux x86-64).
MEGABYTE = 1_000_000
MEMORY = {
    MOONSHINE: 160 * MEGABYTE,
    WHISPER: 330 * MEGABYTE,
    HIBARI: 120 * MEGABYTE,
    DEFAULT_CHAT: 1_900 * MEGABYTE,
    SMALL_CHAT: 260 * MEGABYTE,
}
#: What a GGUF file takes beside its own size: context, repacked weights.
CHAT_MARGIN = 700 * MEGABYTE


def _recognizers(settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
    def whisper(report: LoadReport) -> Whisper:
        return Whisper(fetch(store, "whisper-base", report), settings.model_threads)

    return (
        _spec(MOONSHINE, "Moonshine tiny", MEMORY[MOONSHINE], lambda report: Moonshine()),
        _spec(WHISPER, "Whisper base", MEMORY[WHISPER], whisper),
    )


def _chat_model(settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
    load, memory = _chat(settings, store, settings.model_threads)
    return (_spec(CHAT, "Chat model", memory, load),)


def _synthesizer(settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
    made = _spec(HIBARI, "hibari", MEMORY[HIBARI], lambda report: Hibari())
    return made, speaker.spec(store)


def _spec(name: str, title: str, memory: int, load: Callable[[LoadReport], Any]) -> ModelSpec:
    return ModelSpec(name=name, title=title, device="cpu", memory=memory, load=load)


def _missing(settings: Settings, store: Store) -> int:
    """Bytes of weights that are yet to be fetched."""
    chat = settings.chat_model
    known: dict[str, Key] = {"default": DEFAULT_CHAT, "small": SMALL_CHAT}
    keys = ("whisper-base", known.get(chat) or user_weights(chat), WEIGHTS)
    return sum(store.pending(key) for key in keys)


REQUIRES = Requirements(download=1_300 * MEGABYTE, missing=_missing)


def _chat(
    settings: Settings, store: Store, threads: int
) -> tuple[Callable[[LoadReport], Llama], int]:
    """How to load the chat model that the settings name, and the memory it takes."""

    def open_model(key: Key, title: str, report: LoadReport) -> Llama:
        path = fetch(store, key, report)
        report.update("warming up")
        model = Llama(path, title, threads)
        model.warm(SPOKEN_PROMPT)
        return model

    def default(report: LoadReport) -> Llama:
        try:
            return open_model(DEFAULT_CHAT, "Qwen2.5 1.5B", report)
        except UnavailableError as error:
            logger.warning("%s; the small chat model is used instead", error)
            reason = str(error)
        model = open_model(SMALL_CHAT, "SmolLM2 135M", report)
        report.note = f"The small chat model answers, as the default one is not here. {reason}"
        return model

    choice = settings.chat_model
    if choice == "default":
        return default, MEMORY[DEFAULT_CHAT]
    if choice == "small":
        return lambda report: open_model(SMALL_CHAT, "SmolLM2 135M", report), MEMORY[SMALL_CHAT]
    key = user_weights(choice)
    # A model on the Hub says how large it is only when asked, and nobody waits for that here.
    size = key.path.stat().st_size if hasattr(key, "path") else MEMORY[DEFAULT_CHAT]
    return lambda report: open_model(key, key.name, report), size + CHAT_MARGIN


RECOGNIZER = RecognizerPart({"en": MOONSHINE, "": WHISPER}, ("en", "*"), _recognizers)
CHAT_MODEL = ChatPart(CHAT, _chat_model)
SYNTHESIZER = SynthesizerPart(
    HIBARI, ("en",), Hibari.voices, Hibari.rate, _synthesizer, "match", speaker.NAME
)
KIT = Kit(RECOGNIZER, CHAT_MODEL, SYNTHESIZER)
PARTS = KIT.parts
INFO = KIT.info(
    "embedded",
    "Embedded (CPU)",
    "Hears English at once (Moonshine) and 99 languages a little later (Whisper base). "
    "Speaks English, in one voice, which it can move towards another (pitch, formants, spectrum): "
    "that is no clone. A small chat model: fluent, often right, not to be relied on.",
)


def engine(models: Models) -> Cascade:
    """The embedded engine over the models of `specs`."""
    return Cascade(INFO, PARTS, models)


def specs(settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
    """The models of the embedded engine, in the order in which they are best warmed.

    Raises:
        InputError: If the chat model in the settings is neither a file nor a Hub id.
    """
    return KIT.specs(settings, store)
