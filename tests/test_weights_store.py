"""What the store keeps on disk, and several that want it at once."""

import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from weights_servers import (
    COMMIT,
    noise,
    on_hub,
    server_fixture,  # noqa: F401  (a fixture)
    sha256,
    split,
    store,
    worker,
)

from errors import CancelledError, UnavailableError

# What is on disk


def test_later_start_does_not_hash_again_but_notices_a_change(tmp_path, server, monkeypatch):
    content = noise(100_000)
    toy = split(server, content, 1)
    path = store(tmp_path, toy).ensure("toy")

    def refuse(*_: object) -> str:
        raise AssertionError("hashed again")

    with monkeypatch.context() as patched:
        patched.setattr("weights.digests.sha256_of", refuse)
        assert store(tmp_path, toy).path("toy") == path

    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    shelf = store(tmp_path, toy)
    assert shelf.path("toy") is None
    assert shelf.missing("toy") == toy.files
    assert shelf.ensure("toy").read_bytes() == content
    assert server.count("/files/") == 2


def test_tampering_is_noticed_by_a_running_store(tmp_path, server):
    content = noise(100_000)
    toy = split(server, content, 1)
    shelf = store(tmp_path, toy)
    path = shelf.ensure("toy")
    assert shelf.path("toy") == path
    path.write_bytes(content[::-1])
    assert shelf.path("toy") is None


def test_damaged_record_is_ignored(tmp_path, server):
    toy = split(server, noise(1000), 1)
    path = store(tmp_path, toy).ensure("toy")
    for damage in ("", "[]", '{"model.gguf": {"size": 1}}', '{"model.gguf": 3}'):
        (tmp_path / "toy" / ".sha256.json").write_text(damage)
        assert store(tmp_path, toy).path("toy") == path


def test_offline_names_the_file_the_place_and_the_sources(tmp_path, server):
    content = noise(1_200_000)
    toy = on_hub(server, split(server, content, 3), {"model.gguf": content})
    shelf = store(tmp_path, toy, offline=True, endpoint=server.url)
    with pytest.raises(UnavailableError) as caught:
        shelf.ensure("toy")
    message = str(caught.value)
    place = tmp_path / "toy" / "model.gguf"
    for told in (
        "model.gguf: 1.2 MB (1200000 bytes)",
        sha256(content)[:12],
        str(place),
        f"me/toy at revision {COMMIT}",
        "toy-part1==1.0 to toy-part3==1.0 (3 wheels)",
    ):
        assert told in message

    place.parent.mkdir()
    place.write_bytes(content[::-1])
    with pytest.raises(UnavailableError, match=r"the file that is there is another one"):
        shelf.ensure("toy")
    place.write_bytes(content)
    assert shelf.ensure("toy") == shelf.path("toy") == place
    assert server.asked == []


def test_no_free_space(tmp_path, server, monkeypatch):
    content = noise(100_000)
    toy = on_hub(server, split(server, content, 2), {"model.gguf": content})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=777))
    with pytest.raises(UnavailableError) as caught:
        store(tmp_path, toy, endpoint=server.url).ensure("toy")
    hub, index = str(caught.value).splitlines()[1:]
    assert "100000 bytes of free disk space are needed" in hub
    assert "777 bytes are free" in hub
    assert str(tmp_path / "toy") in hub
    need = int(re.search(r"(\d+) bytes of free", index).group(1))
    assert need == 100_000 + 2 * max(wheel.size for wheel in toy.wheels)
    assert server.count("/files/") == server.count("/resolve/") == 0


def test_folder_that_cannot_be_made(tmp_path, server):
    toy = split(server, noise(1000), 1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match=r"toy cannot be stored in .*/file:"):
        store(tmp_path / "file", toy).ensure("toy")


# Several at once


def test_threads_fetch_once(tmp_path, server):
    content = noise(500_000)
    toy = split(server, content, 2)
    same, other = store(tmp_path, toy), store(tmp_path, toy)
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda shelf: shelf.ensure("toy"), [same, other] * 3))
    assert {path.read_bytes() for path in paths} == {content}
    assert [server.count(f"/files/toy_part{n}") for n in (1, 2)] == [1, 1]


def test_processes_fetch_once(tmp_path, server):
    content = noise(500_000)
    toy = on_hub(server, split(server, content, 2), {"model.gguf": content})
    processes = [worker(tmp_path, toy, endpoint=server.url) for _ in range(3)]
    for process in processes:
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output
    assert (tmp_path / "toy" / "model.gguf").read_bytes() == content
    assert server.count("/resolve/") == 1


def test_waiting_for_another_can_be_cancelled(tmp_path, server):
    toy = split(server, noise(1_000_000), 1)
    server.hold = set(server.files)
    first, second = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(store(tmp_path, toy).ensure, "toy", cancel=first)
        server.wait_for("/files/")
        waiting = pool.submit(store(tmp_path, toy).ensure, "toy", cancel=second)
        time.sleep(0.3)
        second.set()
        with pytest.raises(CancelledError):
            waiting.result(timeout=2)
        first.set()
        with pytest.raises(CancelledError):
            busy.result(timeout=2)
