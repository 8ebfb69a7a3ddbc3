"""A server that speaks OpenAI's API as badly as it is told to."""

import json
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Call"], None]


@dataclass
class Asked:
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Call(BaseHTTPRequestHandler):
    """One request; answers write to it as they like."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *details):
        pass

    def do_GET(self):
        self._answer(b"")

    def do_POST(self):
        self._answer(self.rfile.read(int(self.headers.get("content-length", 0))))

    def _answer(self, body):
        house = self.server.house
        self.asked = Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        house.asked.append(self.asked)
        try:
            house.answer_to(self.path)(self)
        except OSError:
            house.left += 1  # The client went away.
            self.close_connection = True

    # What answers are made of

    def begin(self, kind="text/event-stream", status=200, **headers):
        self.send_response(status)
        self.send_header("content-type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def piece(self, data: bytes):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def end(self):
        self.wfile.write(b"0\r\n\r\n")

    def hang_up(self):
        """In the middle: no last chunk."""
        self.wfile.flush()
        self.connection.shutdown(2)
        self.close_connection = True

    def whole(self, body: bytes | str | dict, kind="application/json", status=200, **headers):
        data = json.dumps(body) if isinstance(body, dict) else body
        data = data.encode() if isinstance(data, str) else data
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)

    def event(self, **fields):
        self.piece(b"data: " + json.dumps(fields).encode() + b"\n\n")

    def delta(self, finish=None, **delta):
        self.event(
            id="1",
            object="chat.completion.chunk",
            created=0,
            model="m",
            choices=[{"index": 0, "delta": delta, "finish_reason": finish}],
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    house: "StandIn"

    def handle_error(self, request, client_address):
        pass


@dataclass
class StandIn:
    """The server; `answers` are given one after the other, the last of them for ever.

    Attributes:
        answers: By the end of the path.
        asked: What came in.
        left: How many clients went away before their answer was complete.
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    left: int = 0

    def __enter__(self):
        self._server = _Server(("127.0.0.1", 0), Call)
        self._server.house = self
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *details):
        self._server.shutdown()
        self._server.server_close()

    def on(self, end: str, *answers: Answer) -> None:
        self.answers[end] = list(answers)

    def answer_to(self, path: str) -> Answer:
        for end, answers in self.answers.items():
            if path.endswith(end):
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return models("m")

    def of(self, end: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.endswith(end)]


CHAT, SPEECH, EARS, MODELS = "/chat/completions", "/audio/speech", "/transcriptions", "/models"


def models(*names: str) -> Answer:
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "us"} for name in names]
    return lambda call: call.whole({"object": "list", "data": listed})


def says(*words: str, every: float = 0.0, thinks: tuple[str, ...] = (), finish="stop") -> Answer:
    """Streams words; `thinks` come first, in the field for reasoning."""

    def answer(call: Call) -> None:
        call.begin()
        call.delta(role="assistant", content="")
        for thought in thinks:
            call.delta(reasoning_content=thought)
        for word in words:
            time.sleep(every)
            call.delta(content=word)
        call.delta(finish=finish)
        call.event(
            id="1",
            object="chat.completion.chunk",
            created=0,
            model="m",
            choices=[],
            usage={"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 9},
        )
        call.piece(b"data: [DONE]\n\n")
        call.end()

    return answer


def breaks_off(*words: str) -> Answer:
    def answer(call: Call) -> None:
        call.begin()
        call.delta(role="assistant", content="")
        for word in words:
            call.delta(content=word)
        call.hang_up()

    return answer


def fails(status: int, message: str = "it broke", code: str | None = None, **headers) -> Answer:
    error = {"error": {"message": message, "type": "error", "code": code}}
    return lambda call: call.whole(error, status=status, **headers)


def sends(body: str, kind: str = "text/html") -> Answer:
    return lambda call: call.whole(body, kind)


def stalls(seconds: float) -> Answer:
    def answer(call: Call) -> None:
        with suppress(OSError):
            time.sleep(seconds)
        call.close_connection = True

    return answer


def sounds(
    level: float = 0.1,
    seconds: float = 0.5,
    rate: int = 24_000,
    step: int = 2401,
    every=0.0,
    **more,
) -> Answer:
    """Streams PCM of one level, in pieces that end amid a sample."""

    def answer(call: Call) -> None:
        call.begin("audio/pcm", **more)
        data = struct.pack("<h", round(level * 32767)) * round(seconds * rate)
        for at in range(0, len(data), step):
            call.piece(data[at : at + step])
            time.sleep(every)
        call.end()

    return answer


def hears(text: str, **more: Any) -> Answer:
    return lambda call: call.whole({"text": text, **more})
