"""A package index and a Hub look-alike on this machine, toy weights, and who fetches them."""

import hashlib
import io
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from weights import File, HubRepo, Member, Store, Weights, Wheel

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


@pytest.fixture(name="server")
def server_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
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


@pytest.fixture(name="nowhere")
def nowhere_fixture() -> str:
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


def model_info(
    server: Server,
    repo: str,
    files: dict[str, bytes],
    small: tuple[str, ...] = (),
    commit: str = COMMIT,
) -> None:
    """What the Hub's API says about a repository, and its files; small ones are not in LFS."""
    siblings = [
        {
            "rfilename": name,
            "size": len(data),
            "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
        }
        | (
            {}
            if name in small
            else {"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 134}}
        )
        for name, data in files.items()
    ]
    info = {"id": repo, "sha": commit, "siblings": siblings, "tags": ["license:mit"]}
    for path in (f"/api/models/{repo}", f"/api/models/{repo}/revision/{commit}"):
        server.files[path] = json.dumps(info).encode()
    for name, data in files.items():
        server.files[f"/{repo}/resolve/{commit}/{name}"] = data


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
