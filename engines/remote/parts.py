"""The parts of cascades that lie on other machines, for the kit."""

from collections.abc import Callable
from typing import Any

from engines.base import EngineInfo, Models, SpeechEngine, Voice, Wish
from engines.cascade.kit import ChatPart, RecognizerPart, Specs, SynthesizerPart
from engines.remote.config import (
    PCM_RATE,
    ChatService,
    Engine,
    RecognizerService,
    Service,
    SynthesizerService,
)
from engines.remote.realtime import Realtime
from model_spec import LoadReport, ModelSpec

#: Of their own they take no memory here worth counting.
DEVICE, MEMORY = "remote", 0


def chat(engine: Engine) -> ChatPart | None:
    """The engine's chat model, if it lies elsewhere."""
    service = engine.chat
    if not isinstance(service, ChatService):
        return None

    def load() -> Any:
        from engines.remote.chat import RemoteChat  # noqa: PLC0415

        return RemoteChat(service.remote, service.model, reasons_first=service.reasons_first)

    name = f"{engine.name} chat"
    wishes = frozenset[Wish]({"key", "model"})
    return ChatPart(name, _specs(name, "Chat model", service, load), service.sees, wishes)


def recognizer(engine: Engine) -> RecognizerPart | None:
    """The engine's recognizer, if it lies elsewhere."""
    service = engine.recognizer
    if not isinstance(service, RecognizerService):
        return None
    takes_key = engine.takes_key(service)

    def load() -> Any:
        from engines.remote.recognizer import RemoteRecognizer  # noqa: PLC0415

        return RemoteRecognizer(service.remote, service.model, takes_key=takes_key)

    name = f"{engine.name} recognizer"
    specs = _specs(name, "Recognizer", service, load)
    wishes = frozenset[Wish]({"key"} if takes_key else ())
    return RecognizerPart({"": name}, service.hears, specs, wishes)


def synthesizer(engine: Engine) -> SynthesizerPart | None:
    """The engine's synthesizer, if it lies elsewhere."""
    service = engine.synthesizer
    if not isinstance(service, SynthesizerService):
        return None
    takes_key = engine.takes_key(service)
    voices = tuple(Voice(name, service.speaks[0], name) for name in service.voices)

    def load() -> Any:
        from engines.remote.synthesizer import RemoteSynthesizer  # noqa: PLC0415

        return RemoteSynthesizer(
            service.remote, service.model, voices, service.rate, takes_key=takes_key
        )

    name = f"{engine.name} synthesizer"
    return SynthesizerPart(
        name,
        service.speaks,
        voices,
        PCM_RATE,
        _specs(name, "Synthesizer", service, load),
        reference="clone" if service.clones else None,
        wishes=frozenset[Wish]({"style", "key"} if takes_key else {"style"}),
    )


def _specs(name: str, title: str, service: Service, load: Callable[[], Any]) -> Specs:
    """To load one is to make a client: whether the server is up shows with each request."""

    def loaded(report: LoadReport) -> Any:
        return load()

    spec = ModelSpec(name, f"{title} at {service.remote.host}", DEVICE, MEMORY, loaded)
    return lambda settings, store: (spec,)


def realtime(engine: Engine) -> tuple[EngineInfo, Specs, Callable[[Models], SpeechEngine]] | None:
    """An engine that lies elsewhere as a whole: what it is, needs, and what makes it."""
    service = engine.realtime
    if service is None:
        return None

    def load() -> Any:
        from engines.remote.servers import Servers  # noqa: PLC0415

        return Servers(service.remote)

    line = f"{engine.name} realtime"
    info = EngineInfo(
        name=engine.name,
        title=engine.called,
        tasks=frozenset({"sqa", "text"}),
        hears=("*",),
        speaks=("*",),
        voices=tuple(Voice(name, "*", name) for name in service.voices),
        rate=PCM_RATE,
        can_see=service.sees,
        wishes=frozenset({"key", "model"}),
        notes=engine.notes or f"Everything is said to {service.remote.host}, which answers.",
    )
    specs = _specs(line, "Conversation", service, load)
    return info, specs, lambda models: Realtime(info, line, service.model, models)
