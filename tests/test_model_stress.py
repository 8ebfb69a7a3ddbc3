"""Many random requests at once: every promise of the holder, checked by the models."""

import random
import threading
import time
from collections import Counter

from fake_models import PATIENCE

import model_loader
from engines.base import Cancel
from errors import CancelledError, UnavailableError
from model_loader import LoadReport, ModelHolder, ModelSpec


class Memory:
    """Notes what is really taken, and every broken promise."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.lock = threading.Lock()
        self.taken = 0
        self.broken: list[str] = []

    def take(self, size: int) -> None:
        with self.lock:
            self.taken += size
            if self.taken > self.budget:
                self.broken.append(f"{self.taken} of {self.budget} taken")


class Tracked:
    def __init__(self, memory: Memory, size: int) -> None:
        self.memory, self.size = memory, size
        self.users = 0
        self.closed = False

    def __enter__(self) -> None:
        with self.memory.lock:
            self.users += 1
            if self.closed:
                self.memory.broken.append("handed out though closed")

    def __exit__(self, *_: object) -> None:
        with self.memory.lock:
            self.users -= 1

    def close(self) -> None:
        if self.users or self.closed:
            self.memory.broken.append("closed while in use, or twice")
        self.closed = True
        self.memory.take(-self.size)


def test_stress(monkeypatch):
    """Random requests, cancels, failures, unloads: nobody hangs, no promise is broken."""
    monkeypatch.setattr(model_loader.gc, "collect", lambda: 0)  # Slow, and no garbage here.
    monkeypatch.setattr(model_loader.logger, "disabled", True)
    sizes = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
    memory = Memory(budget=6)
    holder = ModelHolder({"cpu": 6}, idle_seconds=0.0, retry_after=0.0, wait_seconds=PATIENCE)
    counts: Counter[str] = Counter()

    def loader(size: int):
        def load(report: LoadReport) -> Tracked:
            memory.take(size)
            if random.random() < 0.02:
                memory.take(-size)
                raise OSError("bad luck")
            if random.random() < 0.2:
                time.sleep(0.0005)
            if report.cancel.is_set():
                memory.take(-size)
                report.cancel.check()
            return Tracked(memory, size)

        return load

    for name, size in sizes.items():
        holder.register(ModelSpec(name, name, "cpu", size, loader(size)))

    def one_request(chance: random.Random) -> None:
        cancel = Cancel()
        names = chance.sample(sorted(sizes), chance.randint(1, 3))
        names = names if sum(sizes[name] for name in names) <= memory.budget else names[:2]
        timer = threading.Timer(chance.random() / 500, cancel.set)
        if chance.random() < 0.1:
            timer.start()
        try:
            with holder.use(*names, cancel=cancel) as models:
                for model, name in zip(models, names, strict=True):
                    assert model.size == sizes[name]
                    with model:
                        counts["used"] += 1
        except CancelledError:
            counts["cancelled"] += 1
        except UnavailableError as error:
            counts["failed"] += 1
            if "bad luck" not in str(error) and "was stopped" not in str(error):
                memory.broken.append(str(error))

    def housekeeping(chance: random.Random) -> None:
        if chance.random() < 0.5:
            holder.sweep()
        else:
            try:
                holder.unload(chance.choice(sorted(sizes)))
            except UnavailableError:
                counts["unload refused"] += 1

    def worker(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(300):
                one_request(chance)
                if any(status.users < 0 for status in holder.status()):
                    memory.broken.append("fewer than no users")
                if chance.random() < 0.05:
                    housekeeping(chance)
        except BaseException as error:  # noqa: BLE001  (told below)
            memory.broken.append(repr(error))

    workers = [threading.Thread(target=worker, args=(seed,), daemon=True) for seed in range(8)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(60.0)
        assert not thread.is_alive(), "a request hangs"
    assert memory.broken == []
    assert counts["used"] > 2000
    assert counts["cancelled"]
    assert counts["failed"]
    assert [status.users for status in holder.status()] == [0] * 5
    assert not holder._queue._waiting
    assert not holder._queue._admitted
    holder.close()
    assert memory.taken == 0
