"""What an engine needs beside memory, and whether it can run here."""

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Literal

from devices import GPU_SHARE, Gpu
from settings import Settings
from weights import Store

GIGABYTE = 1_000_000_000

#: Memory of GPUs that are sold, GB: what to look for, if an engine needs more than is there.
CARDS = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141)

#: Bytes of a weight of a linear layer by precision, with the scales of its group.
WEIGHT_BYTES: Mapping[str, float] = {"full": 2.0, "int8": 1.02, "int4": 0.6}

Obstacle = Literal["device", "memory", "packages", "disk", "offline", "other"]


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether an engine can run here.

    Attributes:
        obstacle: What is in the way; None: nothing, it fits.
        reason: That in words that go on after the engine's name: "needs 21 GB of GPU
            memory; this machine has none".
        remedy: What to do about it, a sentence.
    """

    obstacle: Obstacle | None = None
    reason: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether it fits."""
        return self.obstacle is None

    @property
    def is_certain(self) -> bool:
        """Whether no request can succeed; memory and disk may do for a part of the engine."""
        return self.obstacle in ("device", "packages", "other")

    def __str__(self) -> str:
        return f"{self.reason}. {self.remedy}" if self.obstacle else "fits"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What an engine needs beside the memory of its models, which `ModelSpec.memory` tells.

    Attributes:
        download: Bytes of weights that are fetched once, by and large; 0: none.
        packages: Importable packages that the default set lacks: "torch".
        install: The file that has them.
        missing: Bytes of weights that are yet to be fetched; asked often, so by the look of
            the files and not by their content. None: nobody knows.
        check: Finds out what else may be in the way, such as the address of a server that
            is not set; None, or a `Fit` that is ok, if nothing is.
    """

    download: int = 0
    packages: tuple[str, ...] = ()
    install: str = "requirements-gpu.txt"
    missing: Callable[[Settings, Store], int] | None = None
    check: Callable[[Settings, Store], Fit | None] | None = None

    def __add__(self, other: "Requirements") -> "Requirements":
        """What both need together."""

        def missing(settings: Settings, store: Store) -> int:
            parts = (self.missing, other.missing)
            return sum(part(settings, store) for part in parts if part is not None)

        def check(settings: Settings, store: Store) -> Fit | None:
            found = (part(settings, store) for part in (self.check, other.check) if part)
            return next((fit for fit in found if fit is not None and not fit.ok), None)

        return Requirements(
            download=self.download + other.download,
            packages=tuple(dict.fromkeys(self.packages + other.packages)),
            install=other.install if other.packages else self.install,
            missing=missing,
            check=check,
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to run on.

    Attributes:
        budgets: Bytes that models may take, by device.
        gpus: The GPUs.
        disk: Free bytes where weights are kept.
    """

    budgets: Mapping[str, int]
    gpus: tuple[Gpu, ...] = ()
    disk: int = 0


def fit(
    needs: Requirements,
    memory: Mapping[str, int],
    machine: Machine,
    settings: Settings,
    store: Store,
) -> Fit:
    """Whether an engine can run here; if not, what would help most comes first.

    Args:
        needs: Its own.
        memory: Bytes that it takes at once, by device.
        machine: What there is.
        settings: Where models may run, and whether anything may be fetched.
        store: Where weights are kept.
    """
    return (
        _room(memory, machine, settings)
        or _software(needs, memory)
        or _weights(needs, machine, settings, store)
        or (needs.check(settings, store) if needs.check else None)
        or Fit()
    )


def _room(memory: Mapping[str, int], machine: Machine, settings: Settings) -> Fit | None:
    for device, need in memory.items():
        budget = machine.budgets.get(device, 0)
        if need <= budget:
            continue
        if device == "cpu":
            return Fit(
                "memory",
                f"needs {size(need)} of memory; models may take {size(budget)} here",
                "Close other programs, choose a smaller model, or use a machine with more memory.",
            )
        asked = f"needs {size(need)} of GPU memory"
        card = f"It runs on a GPU with {_card(need)} GB."
        if settings.device == "cpu" and machine.gpus:
            return Fit("device", f"{asked}; the GPU here is not to be used", "Set --device auto.")
        if not machine.gpus:
            return Fit("device", f"{asked}; this machine has none", card)
        if device not in machine.budgets:
            return Fit("device", f"{asked}; there is no {device} here", card)
        return Fit("memory", f"{asked}; models may take {size(budget)} here", card)
    return None


def _software(needs: Requirements, memory: Mapping[str, int]) -> Fit | None:
    missing = [name for name in needs.packages if not _is_installed(name)]
    if missing:
        words = " and ".join(missing)
        return Fit(
            "packages",
            f"needs {words}, which {'is' if len(missing) == 1 else 'are'} not installed",
            f"Run: pip install -r {needs.install}",
        )
    if any(device.startswith("cuda") for device in memory) and _torch_is_for_the_cpu():
        return Fit(
            "packages",
            "needs torch for the GPU; the one that is installed is for the CPU only",
            f"Run: pip install --force-reinstall -r {needs.install}",
        )
    return None


def _weights(needs: Requirements, machine: Machine, settings: Settings, store: Store) -> Fit | None:
    missing = needs.missing(settings, store) if needs.missing else 0
    if missing and settings.offline:
        return Fit(
            "offline",
            f"needs weights of {size(missing)} that are not here, and Parley is offline",
            "Start it once without --offline, or put the files there by hand.",
        )
    if missing > machine.disk:
        return Fit(
            "disk",
            f"needs {size(missing)} of disk; {size(machine.disk)} are free",
            f"Make room, or give another folder with --data; now it is {settings.data}.",
        )
    return None


def size(amount: int) -> str:
    """Bytes for people, as rough as they read them: "21 GB", "3.5 GB", "260 MB"."""
    if amount >= 10 * GIGABYTE:
        return f"{amount / GIGABYTE:.0f} GB"
    if amount >= GIGABYTE:
        return f"{amount / GIGABYTE:.1f} GB"
    return f"{amount / 1e6:.0f} MB"


def _card(need: int) -> int:
    """Memory of the smallest GPU on the market with that much room, GB."""
    least = need / GPU_SHARE / GIGABYTE
    # A card of "24 GB" has 24 GiB, less what the driver takes: about as many GB.
    return next((card for card in CARDS if card >= least), math.ceil(least))


@cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@cache
def _torch_is_for_the_cpu() -> bool:
    """Whether torch is there, but a build without CUDA; told by its version, unimported."""
    try:
        return metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False
