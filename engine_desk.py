"""The engines of this server: what each is doing, loaded and unloaded by hand."""

import json
import logging
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from devices import Gpu
from engines.base import Cancel, SpeechEngine
from engines.catalog import Entry
from engines.needs import Fit, Machine, fit
from errors import CancelledError, InputError, ParleyError, UnavailableError
from model_loader import ModelHolder
from model_spec import ModelSpec, ModelStatus, Progress
from settings import Settings
from weights import Store
from weights.digests import write_whole

logger = logging.getLogger(__name__)

EngineState = Literal["absent", "loading", "partial", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the page shows of an engine.

    Attributes:
        entry: The engine.
        fit: Whether it can run here.
        memory: Bytes of all its models, by device.
        missing: Bytes of weights that are yet to be fetched.
        state: "ready": all that its largest task needs is loaded; an engine without models
            always is. "partial": some of it is, as when the rest was idle too long.
        models: How many of its models are loaded, and how many there are.
        progress: Of the load that takes longest; None in every other state.
        failure: Why the last load failed, or what of an engine that is ready could not be had;
            empty in every other state.
        users: Requests that hold its models or wait for them.
        terms: What is still to be agreed to before it is loaded; empty: nothing.
    """

    entry: Entry
    fit: Fit
    memory: Mapping[str, int]
    missing: int
    state: EngineState
    models: tuple[int, int]
    progress: Progress | None
    failure: str
    users: int
    terms: str

    @property
    def can_answer(self) -> bool:
        """Whether it may be chosen: what is not loaded yet is loaded when it is asked."""
        return self.fit.ok and not self.terms and self.state != "failed"


@dataclass(frozen=True, slots=True)
class _Opened:
    """An engine of the catalog, made; `broken` says why it could not be."""

    entry: Entry
    specs: tuple[ModelSpec, ...] = ()
    engine: SpeechEngine | None = None
    broken: str = ""


class EngineDesk:
    """The engines by name, with what they need and what they are doing.

    Any method may be called from any thread.

    Args:
        settings: The rules; its engine is the default.
        models: Where the engines borrow.
        store: Where weights are kept.
        catalog: The engines.
        budgets: Bytes that models may take, by device.
        gpus: The GPUs here, whether they may be used or not.

    Raises:
        InputError: If the settings name an engine that is not in the catalog.
    """

    def __init__(
        self,
        settings: Settings,
        models: ModelHolder,
        store: Store,
        catalog: Sequence[Entry],
        budgets: Mapping[str, int],
        gpus: Sequence[Gpu] = (),
    ) -> None:
        self._settings = settings
        self._models = models
        self._store = store
        self._budgets = budgets
        self._gpus = tuple(gpus)
        self._agreements = Agreements(settings.data / "agreements.json")
        self._lock = threading.Lock()
        self._loads: dict[str, Cancel] = {}
        self._failures: dict[str, str] = {}
        self._opened = {entry.info.name: self._open(entry) for entry in catalog}
        self._find(settings.engine)

    def engine(self, name: str) -> SpeechEngine:
        """An engine by name.

        Raises:
            InputError: If there is none of that name.
            UnavailableError: If it cannot be made with these settings.
        """
        opened = self._find(name)
        if opened.engine is None:
            raise UnavailableError(opened.broken)
        return opened.engine

    def specs(self, name: str) -> tuple[ModelSpec, ...]:
        """The models of an engine, in the order in which they are best warmed."""
        return self._find(name).specs

    def fit(self, name: str) -> Fit:
        """Whether an engine can run here, and if not, why and what would help.

        Raises:
            InputError: If there is none of that name.
        """
        opened = self._find(name)
        if opened.broken:
            return Fit("other", "cannot be set up", opened.broken)
        need = _by_device(self._largest(opened))
        machine = Machine(self._budgets, self._gpus, _free_disk(self._settings.data))
        return fit(opened.entry.requires, need, machine, self._settings, self._store)

    def require(self, name: str) -> None:
        """Refuse requests to an engine that cannot answer any.

        Raises:
            InputError: If there is none of that name.
            UnavailableError: If it does not fit, or its terms were not agreed to.
        """
        opened = self._find(name)
        title = opened.entry.info.title
        found = self.fit(name)
        if found.is_certain:
            raise UnavailableError(f"{title} {found}")
        if terms := self._open_terms(opened.entry):
            raise UnavailableError(
                f"{title} has terms that you have to agree to first: {terms} "
                f"Agree on the page, or start Parley with --agree {name}."
            )

    def agree(self, name: str) -> None:
        """Note that the terms of an engine were agreed to; kept for the next start.

        Raises:
            InputError: If there is none of that name.
        """
        entry = self._find(name).entry
        self._agreements.add(name, entry.terms)

    def load(self, name: str) -> None:
        """Begin to load an engine in the background; see `status` for how it goes.

        Raises:
            InputError: If there is none of that name.
            UnavailableError: If it does not fit, or its terms were not agreed to.
        """
        opened = self._find(name)
        self.require(name)
        if not (found := self.fit(name)).ok:
            raise UnavailableError(f"{opened.entry.info.title} {found}")
        cancel = Cancel()
        with self._lock:
            if name in self._loads:
                return
            self._failures.pop(name, None)
            self._loads[name] = cancel
        threading.Thread(
            target=self._load, args=(opened, cancel), name=f"load {name}", daemon=True
        ).start()

    def stop(self, name: str) -> None:
        """Call off the load of an engine; what others wait for goes on."""
        with self._lock:
            cancel = self._loads.get(name)
        if cancel is not None:
            cancel.set()

    def unload(self, name: str) -> None:
        """Unload an engine; models that it shares go too, and come back when they are needed.

        Raises:
            InputError: If there is none of that name.
            UnavailableError: If it is in use; all of it stays then.
        """
        opened = self._find(name)
        with self._lock:
            if name in self._loads:
                raise UnavailableError(f"{opened.entry.info.title} is just being loaded.")
            self._failures.pop(name, None)
        self._models.unload(*(spec.name for spec in opened.specs))

    def status(self, name: str) -> EngineStatus:
        """What there is to know of an engine; never waits for a load.

        Raises:
            InputError: If there is none of that name.
        """
        return self._status(self._find(name), self._known())

    def statuses(self) -> list[EngineStatus]:
        """The same of every engine, in the order of the catalog."""
        known = self._known()
        return [self._status(opened, known) for opened in self._opened.values()]

    def _find(self, name: str) -> _Opened:
        if name not in self._opened:
            raise InputError(f"There is no engine {name!r}. Engines: {', '.join(self._opened)}.")
        return self._opened[name]

    def _open(self, entry: Entry) -> _Opened:
        try:
            specs = entry.specs(self._settings, self._store)
            known = self._known()
            for spec in specs:
                if spec.name not in known:
                    self._models.register(spec)
            return _Opened(entry, specs, entry.build(self._models))
        except ParleyError as error:
            # One that nobody asked for must not keep the others from working.
            if entry.info.name == self._settings.engine:
                raise
            logger.warning("%s is not available: %s", entry.info.title, error)
            return _Opened(entry, broken=str(error))

    def _known(self) -> dict[str, ModelStatus]:
        return {status.name: status for status in self._models.status()}

    def _largest(self, opened: _Opened) -> list[ModelStatus]:
        """The models that its largest task borrows together."""
        assert opened.engine is not None
        known = self._known()
        own = {spec.name: known[spec.name] for spec in opened.specs}
        tasks = [opened.engine.models(task) for task in opened.entry.info.tasks]
        sets = [[own[name] for name in names if name in own] for names in tasks]
        return max(sets, key=lambda models: sum(m.memory for m in models), default=[])

    def _load(self, opened: _Opened, cancel: Cancel) -> None:
        name = opened.entry.info.name
        try:
            needed = [model.name for model in self._largest(opened)]
            others = [model for model in self._together(opened) if model not in needed]
            for model in (*needed, *others):
                self._models.retry(model)
            with self._models.use(*needed, cancel=cancel):
                logger.info("%s is ready", opened.entry.info.title)
                self._forget_load(name, cancel)
            # What only some requests need, as a recognizer for other languages: neither waited
            # for, nor a reason to call off the rest where it cannot be had.
            self._models.warm(others)
        except CancelledError:
            logger.info("Loading %s was stopped", opened.entry.info.title)
        except ParleyError as error:
            with self._lock:
                self._failures[name] = str(error)
        finally:
            self._forget_load(name, cancel)

    def _forget_load(self, name: str, cancel: Cancel) -> None:
        """It is over; another one may have begun."""
        with self._lock:
            if self._loads.get(name) is cancel:
                del self._loads[name]

    def _together(self, opened: _Opened) -> list[str]:
        """The models to load: all, or those of its largest task where not all have room."""
        known = self._known()
        everything = [spec.name for spec in opened.specs]
        need = _by_device([known[name] for name in everything])
        if all(need[device] <= self._budgets.get(device, 0) for device in need):
            return everything
        return [model.name for model in self._largest(opened)]

    def _open_terms(self, entry: Entry) -> str:
        """The terms that nobody has agreed to yet."""
        name = entry.info.name
        if name in self._settings.agreed or self._agreements.has(name, entry.terms):
            return ""
        return entry.terms

    def _status(self, opened: _Opened, known: Mapping[str, ModelStatus]) -> EngineStatus:
        entry, name = opened.entry, opened.entry.info.name
        own = [known[spec.name] for spec in opened.specs]
        loading = [status for status in own if status.state == "loading"]
        ready = sum(status.state == "ready" for status in own)
        with self._lock:
            being_loaded = name in self._loads
            failure = self._failures.get(name, "")
        missing_part = next((status.failure for status in own if status.failure), "")
        failure = failure or missing_part
        state: EngineState = "absent"
        if not opened.broken and all(m.state == "ready" for m in self._largest(opened)):
            state = "ready"
        elif loading or being_loaded:
            state = "loading"
        elif failure:
            state = "failed"
        elif ready:
            state = "partial"
        largest = max(loading, key=lambda status: status.memory, default=None)
        progress = largest.progress if largest else None
        missing = entry.requires.missing
        return EngineStatus(
            entry=entry,
            fit=self.fit(name),
            memory=_by_device(own),
            missing=missing(self._settings, self._store) if missing else 0,
            state=state,
            models=(ready, len(own)),
            progress=(progress or Progress("waiting for room")) if state == "loading" else None,
            # A load that failed earlier is no news of an engine that has its models by now.
            failure={"ready": missing_part, "failed": failure}.get(state) or "",
            users=max((status.users for status in own), default=0),
            terms=self._open_terms(entry),
        )


class Agreements:
    """Which terms were agreed to, kept in a file.

    Args:
        path: The file; made when needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._kept = self._read()

    def has(self, name: str, terms: str) -> bool:
        """Whether just these terms of an engine were agreed to; others ask again."""
        with self._lock:
            return bool(terms) and self._kept.get(name, {}).get("terms") == terms

    def add(self, name: str, terms: str) -> None:
        """Keep that they were agreed to now."""
        with self._lock:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            self._kept[name] = {"terms": terms, "agreed": at}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(self._kept, indent=2))

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read, so terms are asked again: %s", self._path, error)
            return {}
        return {name: given for name, given in kept.items() if isinstance(given, dict)}


def _by_device(models: Sequence[ModelStatus]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for model in models:
        sizes[model.device] = sizes.get(model.device, 0) + model.memory
    return sizes


def _free_disk(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
