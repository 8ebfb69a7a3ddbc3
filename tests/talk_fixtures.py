"""Callers for the tests of the talk tab: `pytest_plugins = ["talk_fixtures"]`."""

import browser
import numpy as np
import pytest
from conftest import SAMPLES
from playwright.sync_api import sync_playwright

from engines.base import Cancel
from speech.files import read_clip
from speech.pcm import Audio

#: The sound of a quiet room, so that nothing in it is digital silence.
ROOM = 1e-4
#: Between two questions of the browser's own microphone, s: time for whatever is done in it.
GAP = 6.0


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    """What the browser's own microphone hears: a question, a pause, and so on for ever."""
    question = read_clip(SAMPLES / "bees.wav").audio
    room = np.random.default_rng(0).normal(0, ROOM, int(GAP * question.rate))
    path = tmp_path_factory.mktemp("microphone") / "questions.wav"
    heard = np.concatenate([question.samples, room]).astype(np.float32)
    browser.write_wav(path, Audio(heard, question.rate))
    return path


@pytest.fixture(scope="module")
def talk_chromium(services, questions):
    """A browser; the models are loaded before anybody is waiting for an answer."""
    browser.need_chromium()
    with services.models.use(*services.engine().models("sqa", "en"), cancel=Cancel()):
        pass
    with sync_playwright() as playwright:
        chromium = browser.launch(playwright, questions, again=True)
        yield chromium
        chromium.close()


@pytest.fixture
def open_talk(talk_chromium, page_url):
    """Opens the talk tab, in a window of its own each time: see `browser.Caller`."""
    callers = []

    def open_talk(**options):
        callers.append(browser.Caller(talk_chromium, page_url, **options))
        return callers[-1]

    yield open_talk
    for caller in callers:
        complaints = caller.complaints
        caller.close()
        assert not complaints, "the browser's console shows errors"
