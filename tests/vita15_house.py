"""VITA-1.5 over tiny weights, for its tests."""

import pytest
from vita15_checkpoint import SIZES

from engines.base import Cancel
from engines.messages import Conversation, Sampling, Turn
from engines.vita import layout
from services import Services
from settings import Settings

NAME = "vita-1.5"


def settings(data, **options):
    given = {"warm": False, "idle_unload": 0, "memory_budget": 10**12, "max_active": 8}
    given |= {"agree": NAME} | options
    return Settings(_env_file=None, port=0, offline=True, device="cpu", data=data, **given)


def services_over(data, sizes=SIZES, **options):
    """Services over a data folder with tiny weights, as a fixture yields them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "PUBLISHED", sizes)
        with Services(settings(data, **options)) as services:
            # So that no test is the one that starts the model's thread.
            list(ask(services.engine(NAME), Turn(text="Hello."), spoken=False))
            yield services


def ask(engine, turn, conversation=Conversation(), **options):
    options.setdefault("sampling", Sampling(temperature=0.0, max_tokens=20, seed=1))
    options.setdefault("cancel", Cancel())
    return engine.converse(turn, conversation, **options)
