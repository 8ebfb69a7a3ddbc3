"""Engines as models, and their voices, by the names that clients give."""

import time
from dataclasses import dataclass
from typing import Any

from engines.base import EngineInfo, Task
from rest.problems import NOT_FOUND, Problem, blaming
from services import Services
from voices.marks import Made

#: Always valid: the engine the server was started with, and its first voice.
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Voiced:
    """A voice that a client asked for.

    Attributes:
        voice: As the services take it: a name, None for the engine's first.
        made: What files in it have to say of themselves, if it is somebody's.
    """

    voice: str | None
    made: Made | None


class Engines:
    """The engines of this server, under the names that its clients know."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._since = int(time.time())

    def listing(self) -> list[dict[str, Any]]:
        """All models, the default one first."""
        names = [DEFAULT, *(info.name for info in self._services.infos())]
        return [self.model(name) for name in names]

    def model(self, name: str) -> dict[str, Any]:
        """A model as the API shows it; `parley` holds what OpenAI has no field for.

        Raises:
            Problem: If there is none of that name.
        """
        info = self.info(name)
        return {
            "id": name,
            "object": "model",
            "created": self._since,
            "owned_by": "parley",
            "parley": {
                "engine": info.name,
                "title": info.title,
                "tasks": sorted(info.tasks),
                "hears": list(info.hears),
                "speaks": list(info.speaks),
                "reference": info.reference,
                "can_see": info.can_see,
                "wishes": sorted(info.wishes),
                "notes": info.notes,
            },
        }

    def info(self, name: str) -> EngineInfo:
        """What the engine behind a model is.

        Raises:
            Problem: If there is none.
        """
        own = self._services.settings.engine if name == DEFAULT else name
        if own in self._services.entries:
            return self._services.entries[own].info
        known = ", ".join([DEFAULT, *self._services.entries])
        raise Problem(
            f"There is no model {name[:80]!r}. Models: {known}.",
            NOT_FOUND,
            code="model_not_found",
            param="model",
        )

    def able(self, name: str, task: Task, deed: str) -> EngineInfo:
        """As `info`, of an engine that can do something.

        Raises:
            Problem: If it cannot, or there is none.
        """
        info = self.info(name)
        if task not in info.tasks:
            raise Problem(
                f"{info.title} cannot {deed}. Choose another model.",
                code="unsupported_model",
                param="model",
            )
        return info

    def voices(self, name: str) -> list[dict[str, Any]]:
        """What an engine can speak with, its own voices first."""
        info = self._services.voices.offered(self.info(name))
        return [
            {"id": voice.name, "name": voice.name, "object": "audio.voice"}
            | {"language": voice.language, "description": voice.description}
            for voice in info.voices
        ]

    def voice(self, name: str, info: EngineInfo, param: str) -> Voiced:
        """A voice by name as the services take it.

        Raises:
            Problem: About `param`, if there is none of that name.
        """
        if name == DEFAULT:
            return Voiced(None, None)
        with blaming(param):
            return Voiced(name, self._services.voices.made(name, info))
