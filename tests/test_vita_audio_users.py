"""Many replies on one set of weights: each as if alone, stopped within a step, then gone."""

import gc
import threading
import weakref
from itertools import pairwise

import pytest
from vita_golden import LM, load

from engines.base import Cancel
from engines.native.sampling import Drawing
from engines.native.steps import Steps
from engines.vita_audio import generation
from engines.vita_audio.fast import FastDecoding
from engines.vita_audio.generation import Generation
from engines.vita_audio.schedule import BALANCE, BOOST, TURBO, VANILLA
from errors import CancelledError

PATIENCE = 60
FREELY = Drawing(temperature=0.9, top_k=20, top_p=0.9, repetition_penalty=1.05)


@pytest.fixture(scope="module")
def model():
    return load(LM)


@pytest.fixture(scope="module")
def prompts():
    arrays = LM.arrays()
    return [arrays[f"input/prompt{i}/input_ids"].tolist() for i in range(3)]


@pytest.fixture
def language(model):
    steps = Steps("language", capacity=8)
    yield Generation(model, steps)
    steps.close()


@pytest.fixture
def decodings(monkeypatch):
    """Weak references to the state of every reply, and whose steps ran in which order."""
    made, order = [], []

    class Watched(FastDecoding):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.number = len(made)
            made.append(weakref.ref(self))

        def step(self):
            order.append(self.number)
            return super().step()

    monkeypatch.setattr(generation, "FastDecoding", Watched)
    return made, order


def test_replies_made_together_are_those_made_alone(language, prompts, decodings):
    _, order = decodings
    requests = [
        {"prompt": prompts[0], "mode": BOOST, "drawing": FREELY, "seed": 1},
        {"prompt": prompts[0], "mode": BOOST, "drawing": FREELY, "seed": 2},
        {"prompt": prompts[1], "mode": TURBO},
        {"prompt": prompts[2], "mode": VANILLA, "drawing": FREELY, "seed": 1},
        {"prompt": prompts[2], "mode": BALANCE, "drawing": Drawing(repetition_penalty=1.2)},
    ]

    def reply(request):
        return list(language.generate(**request, max_tokens=40, cancel=Cancel()))

    alone = [reply(request) for request in requests]
    assert alone[0] != alone[1]
    order.clear()
    together = [None] * len(requests)
    ready = threading.Barrier(len(requests))

    def one(i):
        ready.wait(PATIENCE)
        together[i] = reply(requests[i])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert together == alone
    turns = sum(a != b for a, b in pairwise(order))
    assert turns > len(order) / 2  # They really took turns.


def test_a_cancelled_reply_stops_within_a_step_and_leaves_nothing(language, prompts, decodings):
    made, order = decodings
    cancel = Cancel()
    reply = language.generate(prompts[1], mode=TURBO, cancel=cancel)
    other = language.generate(prompts[1], mode=TURBO, max_tokens=60, cancel=Cancel())
    begun = next(other)
    for _ in range(15):
        next(reply)
    cancel.set()
    with pytest.raises(CancelledError):
        next(reply)
    taken = order.count(1)
    assert made[1]() is None
    rest = [begun, *other]
    assert order.count(1) == taken
    assert rest == list(language.generate(prompts[1], mode=TURBO, max_tokens=60, cancel=Cancel()))
    assert all(reference() is None for reference in made)


@pytest.mark.parametrize("how", ["finished", "closed", "forgotten"])
def test_what_a_reply_held_is_free_when_it_is_over(language, prompts, decodings, how):
    made, _ = decodings
    reply = language.generate(prompts[0], mode=BOOST, max_tokens=20, cancel=Cancel())
    next(reply)
    if how == "finished":
        list(reply)
    elif how == "closed":
        reply.close()
    else:
        del reply
        gc.collect()
    assert len(made) == 1
    assert made[0]() is None


def test_a_long_prompt_leaves_others_their_turn(language, prompts, decodings, monkeypatch):
    monkeypatch.setattr(generation, "_PIECE", {"cpu": 8})
    made, order = decodings
    reply = language.generate(prompts[0], max_tokens=200, cancel=Cancel())
    next(reply)
    long = language.generate(prompts[2], max_tokens=1, cancel=Cancel())
    list(long)
    before = order.index(1)
    assert before > 5
    assert list(reply) == list(language.generate(prompts[0], max_tokens=200, cancel=Cancel()))[1:]
    assert len(made) == 3


def test_steps_are_never_joined(language, model, prompts, monkeypatch):
    rows = []
    plain = model.main

    def watched(embedded, *args):
        rows.append(tuple(embedded.shape[:2]))
        return plain(embedded, *args)

    monkeypatch.setattr(model, "main", watched)
    replies = [language.generate(p, max_tokens=5, cancel=Cancel()) for p in prompts]
    for tokens in zip(*replies, strict=True):
        assert len(tokens) == 3
    assert sorted(rows)[:12] == [(1, 1)] * 12
    assert sorted(rows)[12:] == sorted((1, len(p)) for p in prompts)
