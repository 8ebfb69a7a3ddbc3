"""A driver made for the tests, which stands in for NVIDIA's: two GPUs, partly taken."""

import sys
from types import SimpleNamespace

from devices import Gpu

GIGABYTE = 10**9
L4 = Gpu("cuda:0", "NVIDIA L4", 24 * GIGABYTE, 23 * GIGABYTE)
A100 = Gpu("cuda:1", "NVIDIA A100", 40 * GIGABYTE, 39 * GIGABYTE)


class Driver:
    """What NVML answers: GPUs by index and by UUID."""

    class NVMLError(Exception):
        pass

    def __init__(self, *cards, broken=False):
        self.cards = cards
        self.broken = broken
        self.open = 0

    def nvmlInit(self):  # noqa: N802  (NVML's own names)
        if self.broken:
            raise self.NVMLError("no driver")
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        found = [card for card in self.cards if card.uuid == uuid]
        if not found:
            raise self.NVMLError("not found")
        return found[0]

    def nvmlDeviceGetName(self, card):  # noqa: N802
        return card.name

    def nvmlDeviceGetMemoryInfo(self, card):  # noqa: N802
        return SimpleNamespace(total=card.total, free=card.free)


CARDS = (
    SimpleNamespace(uuid="GPU-aa", name="NVIDIA L4", total=L4.total, free=L4.free),
    SimpleNamespace(uuid="GPU-bb", name=b"NVIDIA A100", total=A100.total, free=A100.free),
)


def install(monkeypatch, driver):
    """Let a driver be asked from now on; returns it."""
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return driver
