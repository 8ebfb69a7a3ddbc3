"""Between the page and the real server: hears all, and says what the server does not say."""

import json
import re

#: Engines as `parley.engine` describes them: one that there is, and one that can see.
ENGINES = [
    {"name": "embedded", "title": "Embedded (CPU)", "can_see": False},
    {"name": "seer", "title": "Seer", "can_see": True},
]
EMBEDDED = {
    **ENGINES[0],
    "reference": None,
    "hears": ["en", "*"],
    "speaks": ["en"],
    "voices": [{"name": "heart", "language": "en", "description": "A calm woman."}],
    "notes": "A small chat model.",
    "engines": ENGINES,
}
SEER = {
    **ENGINES[1],
    "reference": "clone",
    "hears": ["en", "zh"],
    "speaks": ["en", "zh"],
    "voices": [
        {"name": "ann", "language": "en", "description": "Young."},
        {"name": "bob", "language": "en", "description": "Old."},
    ],
    "notes": "",
    "engines": ENGINES,
}


class Between:
    """Stands on the line, in the middle of each connection.

    Attributes:
        urls: Of the connections so far.
        sent: What the page sent on the newest one.
        holds: What the server says is kept back; see `let_go`.
        resumes: The server's greeting says that it remembers.
        swallows: Events of the page that the server is not told.
        drops: Events of the server that the page is not told.
    """

    def __init__(self, caller, swallows=(), drops=()):
        self.urls: list[str] = []
        self.sent: list[dict] = []
        self.holds = False
        self.resumes = False
        self.swallows = swallows
        self.drops = {"parley.session", *drops}  # The keys are those of the test.
        self._held: list[str] = []
        self._passed: list[dict] = []
        caller.page.route_web_socket(re.compile("/v1/realtime"), self._connect)

    def _connect(self, socket):
        self.urls.append(socket.url)
        self.sent = []
        self._socket = socket
        self._server = socket.connect_to_server()
        server, sent = self._server, self.sent

        def from_page(text):
            sent.append(json.loads(text))
            if sent[-1]["type"] not in self.swallows and server is self._server:
                server.send(text)

        socket.on_message(from_page)
        server.on_message(self._pass_on)

    def _pass_on(self, text):
        if self.holds:
            self._held.append(text)
            return
        event = json.loads(text)
        if event["type"] in self.drops:
            return
        self._passed.append(event)
        if event["type"] != "session.created":
            self._socket.send(text)
            return
        if self.resumes:
            self.say("parley.resumed", session_id=event["session"]["id"])
        else:
            self._socket.send(text)
        self.say("parley.session", resume=f"key-{len(self.urls)}", seconds=30)

    def say(self, kind, **fields):
        """Say something to the page."""
        self._socket.send(json.dumps({"type": kind, **fields}))

    def let_go(self):
        """What was kept back reaches the page."""
        self.holds = False
        for text in self._held:
            self._pass_on(text)
        self._held = []

    def hang_up(self, code, reason):
        """Close both halves."""
        server, self._server = self._server, None  # What still comes is for nobody.
        server.close()
        self._socket.close(code=code, reason=reason)

    def of(self, kind):
        """What the page sent of a kind on the newest connection."""
        return [event for event in self.sent if event["type"] == kind]

    def passed(self, kind):
        """What the server said of a kind, and the page was told."""
        return [event for event in self._passed if event["type"] == kind]

    def told(self):
        """What the page retold on the newest connection."""
        created = self.of("conversation.item.create")
        return [event["item"]["content"][0]["text"] for event in created]
