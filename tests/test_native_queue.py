"""Requests that wait for a place in a native engine are told so, in the chat tab, too."""

import itertools
import re
import threading
from contextlib import contextmanager

import pytest
from conftest import SAMPLES
from opens2s_maker import make
from vita_checkpoint import CODES
from vita_house import data_fixture, settings  # noqa: F401  (a fixture)

from demos.answers import Answers
from demos.panel import Options
from demos.thread import Ask, Thread
from engines.base import Cancel
from engines.messages import Conversation, Finished, Sampling, Turn, Waiting
from services import Services

VITA, OPENS2S = "vita-audio-boost", "opens2s"
every_engine = pytest.mark.parametrize("name", [VITA, OPENS2S])


@pytest.fixture(scope="module")
def services(data):
    """Engines with one place each; the house itself takes many."""
    make(data / "weights" / "OpenS2S", codes=CODES, units=40)
    with Services(settings(data, vita_users=1, opens2s_users=1)) as services:
        yield services


@contextmanager
def occupied(services, name):
    """Somebody holds the only place, and makes a step now and then."""
    with services.models.use(name, cancel=Cancel()) as (model,):
        holding = model._steps.run(itertools.count(), cancel=Cancel())
        next(holding)
        try:
            yield
        finally:
            holding.close()


def asked(answers, name, task="text", **ask):
    options = Options(name, None, "en", 0.0, 12, "", 20, "")
    session = ask.get("text") or ask["clip"]  # Each asks in a window of its own.
    return answers.answer(task, Ask(**ask), Thread(), options, session)


def shown(view):
    return [re.sub("<.*?>", "", str(message["content"])) for message in view.messages or ()]


def wait_for(views, words):
    """Look at the page until it says that."""
    seen = []
    for view in itertools.islice(views, 40):
        seen.append(shown(view))
        if any(words in text for text in seen[-1]):
            return
    raise AssertionError(f"{words!r} is not in {seen}")


@every_engine
def test_the_page_tells_how_many_come_before(services, name):
    answers = Answers(services)
    with occupied(services, name):
        first = asked(answers, name, text="Hello.")
        wait_for(first, "1 request ahead of you")
        second = asked(answers, name, text="Good morning.")
        wait_for(second, "2 requests ahead of you")
        third = asked(answers, name, text="Good evening.")
        wait_for(third, "3 requests ahead of you")
        # Who leaves, and who is served, makes the way shorter for the others.
        second.close()
        wait_for(third, "2 requests ahead of you")
    for views in (first, third):
        *_, last = views
        assert "ahead of you" not in str(last.messages)
        assert "total" in str(last.messages)


def test_recognition_tells_it_too(services):
    answers = Answers(services)
    with occupied(services, VITA):
        views = asked(answers, VITA, "asr", clip=str(SAMPLES / "sky.wav"))
        wait_for(views, "1 request ahead of you")
    *_, last = views
    assert "ahead of you" not in str(last.messages)


@every_engine
def test_who_does_not_wait_is_told_nothing(services, name):
    told = []
    events = list(
        services.converse(
            Turn(text="Hello."),
            Conversation(),
            engine=name,
            sampling=Sampling(0.0, 8),
            spoken=False,
            cancel=Cancel(),
            on_wait=told.append,
        )
    )
    assert isinstance(events[-1], Finished)
    assert told == [None]


@every_engine
def test_nobody_else_sees_the_events_of_a_wait(services, name):
    """They are for `on_wait`; the API, the live line and the command line get a reply as ever."""
    told, kinds, waits = [], set(), threading.Event()

    def tell(ahead):
        told.append(ahead)
        if ahead:
            waits.set()

    events = services.converse(
        Turn(text="Hello."),
        Conversation(),
        engine=name,
        sampling=Sampling(0.0, 8),
        spoken=False,
        cancel=Cancel(),
        on_wait=tell,
    )
    with occupied(services, name):
        thread = threading.Thread(target=lambda: kinds.update(map(type, events)))
        thread.start()
        assert waits.wait(30)
    thread.join(30)
    assert Finished in kinds
    assert Waiting not in kinds
    assert told == [None, 1, None]
