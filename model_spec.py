"""What a model that can be loaded is, and what is known of one.

Apart from the holder (`model_loader`), so that engines can describe their
models without knowing who holds them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engines.base import Cancel

State = Literal["absent", "loading", "ready", "unloading", "failed"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is.

    Attributes:
        text: What goes on, for people: "downloading".
        fraction: 0 to 1; None where nobody can tell.
        bytes_done: Bytes fetched or read so far.
        seconds_left: Estimate.
    """

    text: str
    fraction: float | None = None
    bytes_done: int | None = None
    seconds_left: float | None = None


class LoadReport:
    """What a loader is given: here it says how far it is and sees whether to stop.

    Attributes:
        cancel: Set once nobody waits for the model any more; the loader should
            then raise `CancelledError` as soon as it can (`report.cancel.check()`).
        progress: What was reported last.
        note: Something users of the model should know once it is loaded, such as
            that it stands in for another one.
    """

    def __init__(self) -> None:
        self.cancel = Cancel()
        self.progress = Progress("loading")
        self.note = ""

    def update(
        self,
        text: str,
        fraction: float | None = None,
        *,
        bytes_done: int | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Say how far the load is; the arguments are those of `Progress`."""
        self.progress = Progress(text, fraction, bytes_done, seconds_left)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that can be loaded.

    Attributes:
        name: Stable identifier.
        title: Name for people.
        device: "cpu", "cuda:0", ...: a key of the holder's budgets.
        memory: Bytes it takes on the device once it is loaded, estimated.
        load: Makes the model; runs on a thread of the holder.
        close: Frees the model; None calls its `close()` where it has one.
    """

    name: str
    title: str
    device: str
    memory: int
    load: Callable[[LoadReport], Any]
    close: Callable[[Any], object] | None = None


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What the page shows of a model.

    Attributes:
        name: See `ModelSpec`.
        title: See `ModelSpec`.
        device: See `ModelSpec`.
        memory: See `ModelSpec`.
        state: "failed" is remembered until the next attempt.
        users: Requests that hold the model or wait for its load.
        progress: Of the load that runs; None in every other state.
        failure: Why the last load failed; None in every other state.
        note: What its loader wants its users to know; empty in every other state than ready.
        idle_seconds: Seconds since a request last held it; None if none ever did.
    """

    name: str
    title: str
    device: str
    memory: int
    state: State
    users: int
    progress: Progress | None
    failure: str | None
    note: str
    idle_seconds: float | None
