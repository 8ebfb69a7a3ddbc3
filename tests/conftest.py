"""What the tests share: the real models, loaded once, and clips to give them."""

import os
from pathlib import Path

import numpy as np
import openai
import pytest

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from engines.catalog import CATALOG
from services import Services
from settings import Settings
from speech.files import read_clip
from speech.pcm import Audio

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "assets" / "samples"
#: Services that few tests share let go of their models after so long, seconds: 3 GB each.
IDLE = 60


@pytest.fixture(scope="session")
def services():
    """The app's services with the real embedded models, loaded when first used."""
    # Temperature 0: what a small model remembers must not depend on luck.
    settings = Settings(_env_file=None, port=0, warm=False, idle_unload=0, temperature=0)
    with Services(settings) as services:
        yield services


@pytest.fixture(scope="session")
def question() -> Audio:
    """ "Why is the sky blue?", spoken."""
    return read_clip(SAMPLES / "sky.wav").audio


@pytest.fixture(scope="session")
def story() -> Audio:
    """Twelve seconds of speech."""
    return read_clip(SAMPLES / "story.wav").audio


@pytest.fixture
def noise() -> Audio:
    """Two seconds of white noise at -20 dBFS."""
    samples = np.random.default_rng(0).normal(0, 0.1, 32_000)
    return Audio(samples.astype(np.float32), 16_000)


@pytest.fixture(scope="session")
def page_url(services):
    """The page, served from this process over the shared services."""
    from demos.page import launch  # noqa: PLC0415  (reads the variable set above)

    page = launch(services, block=False)
    yield page.local_url
    page.close()


@pytest.fixture(scope="session")
def seeing_url():
    """A page with three engines: the embedded one at first, and the Seer and the Mole."""
    import seeing_engine  # noqa: PLC0415

    from demos.page import launch  # noqa: PLC0415

    settings = Settings(_env_file=None, port=0, warm=False, idle_unload=IDLE, temperature=0)
    with Services(settings, [CATALOG[0], *seeing_engine.ENTRIES]) as services:
        page = launch(services, block=False)
        yield page.local_url
        page.close()


@pytest.fixture(scope="session")
def openai_url(page_url):
    """The address that clients of OpenAI's API are given."""
    return f"{page_url}v1"


@pytest.fixture(scope="session")
def openai_client(openai_url):
    """The official client; it tries nothing twice."""
    return openai.OpenAI(base_url=openai_url, api_key="none", max_retries=0)
