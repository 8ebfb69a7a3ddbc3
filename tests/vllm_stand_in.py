"""A server that answers like vLLM's OpenAI endpoint, with every fault a test asks for."""

import json
import socket
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

MODEL = "Boost"


class StandIn(ThreadingHTTPServer):
    """Writes `tokens`, some at a time; what was asked is in `requests`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = [MODEL]
        self.longest = 1000
        self.key = ""
        self.tokens = [[7], [8, 9], [10]]
        self.write = None  # makes the tokens of what was asked, one at a time
        self.requests = []
        self.refusals = deque()  # (status, message) of the next requests for tokens
        self.fault = ""
        self.released = threading.Event()  # what a held stream waits for
        self.begun = threading.Event()
        self.left = threading.Event()  # a client went away in the middle

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Clients leave in these tests; that is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_GET(self):
        if not self.welcome():
            return
        if self.path != "/v1/models":
            self.answer(404, {"detail": "Not Found"})
            return
        cards = [
            {"id": name, "object": "model", "created": 0, "owned_by": "vllm"}
            | ({"max_model_len": self.server.longest} if self.server.longest else {})
            for name in self.server.models
        ]
        self.answer(200, {"object": "list", "data": cards})

    def do_POST(self):
        server = self.server
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.welcome():
            return
        server.requests.append(asked)
        if server.refusals:
            status, message = server.refusals.popleft()
            self.answer(status, {"error": {"message": message, "code": status}})
        elif asked["model"] not in server.models:
            self.answer(404, {"error": {"message": f"The model {asked['model']} does not exist."}})
        else:
            self.stream(asked)

    def welcome(self):
        key = self.server.key
        if key and self.headers["Authorization"] != f"Bearer {key}":
            self.answer(401, {"error": "Unauthorized"})
            return False
        return True

    def answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def stream(self, asked):
        server = self.server
        if server.fault == "silent":
            server.begun.set()
            self.wait_for_leave()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        tokens = [ids[:] for ids in server.tokens]
        if server.write:
            tokens = [[token] for token in server.write(asked)]
        elif asked["prompt"] and asked["prompt"][0] >= 100:
            tokens = [[asked["prompt"][0]]] * 20  # such a prompt asks for its own number
        for number, ids in enumerate(tokens):
            last = number == len(tokens) - 1
            if number == 1 and server.fault and self.fail(server.fault):
                return
            choice = {"index": 0, "text": "", "logprobs": None, "token_ids": ids}
            choice["finish_reason"] = "stop" if last and server.fault != "unfinished" else None
            if server.fault == "no ids":
                del choice["token_ids"]
            if number == 0:
                read = asked["prompt"][:-1] if server.fault == "cut prompt" else asked["prompt"]
                choice["prompt_token_ids"] = read or None
            self.event(
                json.dumps(
                    {"id": "1", "object": "text_completion", "created": 0}
                    | {"model": asked["model"], "choices": [choice]}
                )
            )
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def fail(self, fault):
        if fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "garbage":
            self.event("{not json")
        elif fault == "error":
            self.event(json.dumps({"error": {"message": "EngineCore died.", "code": 500}}))
        elif fault == "hold":
            self.server.begun.set()
            self.wait_for_leave()
        else:
            return False
        return True

    def wait_for_leave(self):
        """Until the other side closes the connection, which is how vLLM learns of a cancel."""
        self.connection.settimeout(20)
        try:
            gone = self.connection.recv(1) == b""
        except ConnectionError:  # It left without reading what was under way.
            gone = True
        if gone:
            self.server.left.set()

    def event(self, data):
        content = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_):
        pass


@pytest.fixture(name="stand_in")
def stand_in_fixture():
    server = StandIn()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
