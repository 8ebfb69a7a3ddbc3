"""How things stand at one moment."""

from dataclasses import dataclass
from typing import Any

from devices import Gpu
from model_spec import ModelStatus


@dataclass(frozen=True, slots=True)
class State:
    """How things stand.

    Attributes:
        at: Unix time, seconds.
        live: Live conversations.
        live_waiting: Callers that wait for one.
        active: Requests that are worked on.
        waiting: Requests that wait for a turn.
        memory: Of this process, resident, bytes.
        gpus: Those that this process may use.
        models: Those that are known, loaded or not.
    """

    at: float
    live: int
    live_waiting: int
    active: int
    waiting: int
    memory: int
    gpus: tuple[Gpu, ...]
    models: tuple[ModelStatus, ...]

    @property
    def gpu_memory(self) -> int:
        """What is used of all GPUs together, bytes."""
        return sum(gpu.total - gpu.free for gpu in self.gpus)

    def described(self) -> dict[str, Any]:
        """For programs."""
        return {
            "sessions": {"live": self.live, "waiting": self.live_waiting},
            "queue": {"active": self.active, "waiting": self.waiting},
            "memory": {
                "process_bytes": self.memory,
                "gpus": [
                    {
                        "device": gpu.device,
                        "title": gpu.title,
                        "used_bytes": gpu.total - gpu.free,
                        "total_bytes": gpu.total,
                    }
                    for gpu in self.gpus
                ],
            },
            "models": [
                {
                    "name": model.name,
                    "title": model.title,
                    "device": model.device,
                    "state": model.state,
                    "memory_bytes": model.memory,
                    "users": model.users,
                }
                for model in self.models
            ],
        }
