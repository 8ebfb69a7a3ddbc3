"""VITA-Audio's engines over small weights, for their tests."""

import pytest
from vita_checkpoint import CODES, SMALL, place

from engines.base import Cancel
from engines.messages import Conversation, Sampling, Transcript, Turn
from engines.vita_audio import layout
from services import Services
from settings import Settings

BOTH = ("vita-audio-boost", "vita-audio-plus-boost")


@pytest.fixture(scope="module", name="data")
def data_fixture(tmp_path_factory):
    """Small weights, where the engines look for the published ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, sizes in SMALL.items():
            patch.setitem(layout.PUBLISHED, name, sizes)
        patch.setattr(layout, "CODES", CODES)
        yield place(tmp_path_factory.mktemp("data"))


def settings(data, **options):
    given = {"warm": False, "idle_unload": 0, "memory_budget": 10**12, "max_active": 8} | options
    return Settings(_env_file=None, port=0, offline=True, device="cpu", data=data, **given)


@pytest.fixture(scope="module", name="services")
def services_fixture(data):
    with Services(settings(data)) as services:
        for name in BOTH:  # So that no test is the one that starts the model's thread.
            list(ask(services.engine(name), Turn(text="Hello."), spoken=False))
        yield services


def ask(engine, turn, conversation=Conversation(), **options):
    options.setdefault("sampling", Sampling(temperature=0.0, max_tokens=20, seed=1))
    options.setdefault("cancel", Cancel())
    return engine.converse(turn, conversation, **options)


def final_of(events):
    (final,) = [event for event in events if isinstance(event, Transcript) and event.final]
    return final
