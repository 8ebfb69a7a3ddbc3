"""Which GPUs there are, and where a model goes: asked of the driver, without torch.

Torch would take seconds to import and hundreds of megabytes of each GPU it is asked
about, for an answer that the embedded engine does not even need.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

logger = logging.getLogger(__name__)

Kind = Literal["cpu", "cuda"]

#: Part of the free memory of a GPU that models may take; the rest is for activations, the
#: libraries' own workspaces and whoever else draws on it.
GPU_SHARE = 0.92


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that this process may use.

    Attributes:
        device: As torch calls it: "cuda:0".
        title: Name for people.
        total: Its memory, bytes.
        free: What of it nobody takes now, bytes.
    """

    device: str
    title: str
    total: int
    free: int

    @property
    def budget(self) -> int:
        """Bytes that models may take of it."""
        return int(GPU_SHARE * self.free)


def gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs here, in torch's order; none where there is no driver.

    `CUDA_VISIBLE_DEVICES` is heeded. The order is torch's as long as
    `CUDA_DEVICE_ORDER` is `PCI_BUS_ID` (`app` sees to that) or the GPUs are alike.
    """
    import pynvml  # noqa: PLC0415  (most machines without a GPU never need it again)

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = [_described(pynvml, handle) for handle in _visible(pynvml)]
    except pynvml.NVMLError as error:
        logger.warning("The driver does not tell which GPUs there are: %s", error)
        return ()
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return tuple(
        Gpu(f"cuda:{number}", title, total, free)
        for number, (title, total, free) in enumerate(found)
    )


def pick(
    wanted: Literal["auto", "cpu", "cuda"],
    memory: Mapping[Kind, int],
    here: Iterable[Gpu] | None = None,
) -> str:
    """The device for a model: "cpu", "cuda:0", ...

    Args:
        wanted: `Settings.device`.
        memory: Bytes that the model takes, by the kinds of device it can run on.
        here: The GPUs; None asks for them.

    Returns:
        The GPU with the most free memory, if the model can use one and it has room. Else
        "cpu", if that may be. Else "cuda:0", there or not: then the engine does not fit,
        and the page says so (`engines.fit`).
    """
    if "cuda" not in memory or (wanted == "cpu" and "cpu" in memory):
        return "cpu"
    known = gpus() if here is None else tuple(here)
    best = max(known, key=lambda gpu: gpu.free, default=None)
    if best is None:
        return "cpu" if wanted == "auto" and "cpu" in memory else "cuda:0"
    if wanted == "auto" and "cpu" in memory and memory["cuda"] > best.budget:
        return "cpu"
    return best.device


def _visible(nvml: Any) -> list[Any]:
    """Handles of the GPUs that this process may use."""
    everything = [
        nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())
    ]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return everything
    chosen = []
    for name in filter(None, (part.strip() for part in named.split(","))):
        try:
            if name.startswith(("GPU-", "MIG-")):
                chosen.append(nvml.nvmlDeviceGetHandleByUUID(name))
            else:
                chosen.append(everything[_index(name, len(everything))])
        except (ValueError, nvml.NVMLError):
            break  # CUDA, too, takes only those before the first that it does not know.
    return chosen


def _index(name: str, count: int) -> int:
    number = int(name)
    if not 0 <= number < count:
        raise ValueError(f"there is no GPU {number}")
    return number


def _described(nvml: Any, handle: Any) -> tuple[str, int, int]:
    """Title, memory and free memory of a GPU."""
    title = nvml.nvmlDeviceGetName(handle)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    if isinstance(title, bytes):  # Of older drivers.
        title = title.decode("utf-8", "replace")
    return title, int(memory.total), int(memory.free)
