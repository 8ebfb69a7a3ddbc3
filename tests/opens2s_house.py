"""OpenS2S over tiny weights, for its tests."""

import shutil

import pytest
from codec_golden import DECODER as TINY_DECODER
from opens2s_maker import make

from engines.base import Cancel
from engines.messages import Conversation, Sampling
from services import Services
from settings import Settings

#: Codes that the tiny decoder knows.
CODES = 512
#: Longest reply, units: 5 s. Random weights hardly ever end by themselves.
UNITS = 60


def place(data, **options):
    """A data folder with tiny weights where the real ones are kept."""
    weights = data / "weights"
    make(weights / "OpenS2S", codes=CODES, units=UNITS, **options)
    shutil.copytree(TINY_DECODER, weights / "glm-4-voice-decoder")
    return data


def settings(data, **options):
    given = {"warm": False, "idle_unload": 0, "memory_budget": 10**12, "max_active": 8}
    return Settings(
        _env_file=None, port=0, offline=True, device="cpu", data=data, **given, **options
    )


@pytest.fixture(scope="module", name="services")
def services_fixture(tmp_path_factory):
    data = place(tmp_path_factory.mktemp("data"))
    with Services(settings(data)) as services:
        yield services


def ask(engine, turn, **options):
    options.setdefault("sampling", Sampling(temperature=0.0, max_tokens=40, seed=1))
    options.setdefault("cancel", Cancel())
    return engine.converse(turn, Conversation(), **options)
