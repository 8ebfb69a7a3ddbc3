"""Engines for the tests of the switch: they load slowly, fail, do not fit, or have terms.

Each answers like the Seer (`seeing_engine`), with the embedded engine's real voice.
"""

import threading
from dataclasses import dataclass, field, replace

from seeing_engine import SEER, Seer

from engines.base import Task
from engines.cascade import embedded
from engines.catalog import Entry
from engines.needs import Fit, Requirements
from errors import UnavailableError
from model_spec import LoadReport, ModelSpec

GIGABYTE = 1_000_000_000
TERMS = "The Scholar may be used for academic research only."
DEVICE = "cuda:0"


@dataclass
class Snail:
    """A load that goes as far as a test says, and fails if that is wanted.

    Attributes:
        pace: Released once for each tenth of the way.
        failure: What it fails with at the end; empty: nothing.
        loads: How many began.
    """

    pace: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    failure: str = ""
    loads: int = 0

    def load(self, report: LoadReport) -> object:
        self.loads += 1
        for step in range(10):
            report.update(
                "downloading",
                step / 10,
                bytes_done=step * 250_000_000,
                seconds_left=(10 - step) * 6.0,
            )
            while not self.pace.acquire(timeout=0.02):
                report.cancel.check()
        if self.failure:
            raise UnavailableError(self.failure)
        return object()

    def go(self, steps: int = 10) -> None:
        self.pace.release(steps)


class Own(Seer):
    """A Seer that also needs a model of its own."""

    def models(self, task: Task, language: str | None = None) -> tuple[str, ...]:
        return (self.info.name, *super().models(task, language))


def entry(
    name: str,
    title: str,
    load,
    *,
    memory: int = GIGABYTE // 100,
    device: str = "cpu",
    requires: Requirements = Requirements(),
    terms: str = "",
    **info,
) -> Entry:
    shown = replace(SEER, name=name, title=title, **info)

    def specs(settings, store) -> tuple[ModelSpec, ...]:
        own = ModelSpec(name, f"{title}'s model", device, memory, load)
        return (own, *embedded.specs(settings, store))

    return Entry(
        info=shown,
        licence="MIT",
        needs="Patience",
        specs=specs,
        build=lambda models: Own(models, shown),
        requires=requires,
        terms=terms,
    )


def entries(snail: Snail) -> tuple[Entry, ...]:
    """The Snail, the Scholar, and four that do not fit."""

    def at_once(report: LoadReport) -> object:
        return object()

    return (
        entry(
            "snail",
            "Snail",
            snail.load,
            requires=Requirements(download=2_500_000_000, missing=lambda *_: 2_500_000_000),
            notes="Loads as slowly as a test likes.",
        ),
        entry("scholar", "Scholar", at_once, terms=TERMS, can_see=False, reference="clone"),
        entry(
            "giant",
            "Giant",
            at_once,
            memory=21 * GIGABYTE,
            device=DEVICE,
            hears=("en", "zh"),
            speaks=("en", "zh"),
        ),
        entry("whale", "Whale", at_once, memory=9_000 * GIGABYTE),
        entry("wheel", "Wheel", at_once, requires=Requirements(packages=("no_such_package",))),
        entry(
            "parcel",
            "Parcel",
            at_once,
            requires=Requirements(
                check=lambda *_: Fit(
                    "other", "needs the address of a server", "Set PARLEY_SERVER to one."
                )
            ),
        ),
    )
