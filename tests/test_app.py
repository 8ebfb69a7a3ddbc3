"""The whole app as a process: its address, its memory, its doors."""

import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import psutil
import pytest
from conftest import ROOT, SAMPLES
from gradio_client import Client, handle_file

IDLE_LIMIT, LOADED_LIMIT = 500e6, 3.5e9


class App:
    """`python app.py` on a free port."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "app.py", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.output = []
        self._address = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self._address.wait(60), "no address:\n" + "".join(self.output)

    def _read(self):
        for line in self.process.stdout:
            self.output.append(line)
            if found := re.search(r"Running on local URL:\s+(http://\S+)", line):
                self.url = found[1]
                self._address.set()

    @property
    def memory(self):
        own = psutil.Process(self.process.pid)
        return sum(p.memory_info().rss for p in (own, *own.children(recursive=True)))

    def close(self):
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def start():
    apps = []

    def start(*options):
        apps.append(App(*options))
        return apps[-1]

    yield start
    for app in apps:
        app.close()


def test_memory_idle_and_with_everything_loaded(start):
    app = start("--no-warm")
    assert urllib.request.urlopen(app.url).status == 200
    idle = app.memory
    assert idle < IDLE_LIMIT
    client = Client(app.url, verbose=False)
    clip = handle_file(SAMPLES / "sky.wav")
    assert client.predict(clip, api_name="/transcribe") == "Why is the sky blue?"
    assert client.predict(clip, api_name="/ask")[1]
    assert app.memory < LOADED_LIMIT
    print(f"idle {idle / 1e6:.0f} MB, everything loaded {app.memory / 1e9:.2f} GB")


def test_a_cold_start_waits_for_the_models(start):
    """The call comes in while the models are still being loaded."""
    client = Client(start().url, verbose=False)
    question, answer, _ = client.predict(None, "Why is the sky blue?", api_name="/ask")
    assert question and answer


def test_nobody_gets_in_without_the_password(start):
    app = start("--no-warm", "--auth", "ada:lovelace")
    page = urllib.request.urlopen(app.url).read().decode()
    assert "lovelace" not in page
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{app.url}/gradio_api/info")
    assert caught.value.code == 401
    with pytest.raises(Exception, match=r"(?i)auth|credentials|401"):
        Client(app.url, verbose=False)
    client = Client(app.url, auth=("ada", "lovelace"), verbose=False)
    assert client.predict("Hello.", api_name="/speak")
    assert "lovelace" not in "".join(app.output)
