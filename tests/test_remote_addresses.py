"""Several addresses of one service: whatever it is, the next one answers, and this is said."""

import asyncio
import json
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import live_line
import numpy as np
import openai
import pytest
from conftest import SAMPLES
from standin import CHAT, EARS, SPEECH, StandIn, breaks_off, fails, hears, says, sounds, stalls
from websockets.sync.server import serve

import app
from demos.page import launch
from engines.base import Cancel, Voice, Wishes
from engines.cascade.parts import Prompt
from engines.messages import Conversation, Notice, Sampling, TextDelta, Turn
from engines.native.sampling import Drawing
from engines.remote import servers
from engines.remote.address import Remote
from engines.remote.chat import RemoteChat
from engines.remote.config import Engine, RealtimeService
from engines.remote.parts import realtime
from engines.remote.recognizer import RemoteRecognizer
from engines.remote.servers import Servers
from engines.remote.synthesizer import RemoteSynthesizer
from engines.vllm.client import TokenServer
from errors import EngineError, ParleyError, UnavailableError
from services import Services
from settings import Settings

DEAD = "http://127.0.0.1:9/v1"  # Nobody listens at the port for discarding.
TOKENS, MODELS = "/v1/completions", "/v1/models"
#: Longest silence that is borne, seconds.
PATIENCE = 2.0


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(servers, "PAUSES", (0.01, 0.02))


# Servers


def writes(*tokens, whole=True):
    """Streams token ids as vLLM does; if not whole, hangs up after them."""

    def answer(call):
        call.begin()
        for token in tokens:
            last = whole and token == tokens[-1]
            choice = {"index": 0, "text": "", "token_ids": [token], "logprobs": None}
            choice["finish_reason"] = "stop" if last else None
            call.event(id="1", object="text_completion", created=0, model="m", choices=[choice])
        call.end() if whole else call.hang_up()

    return answer


def cut_sound(call):
    call.begin("audio/pcm")
    call.piece(b"\1\1" * 24_000)
    call.hang_up()


@contextmanager
def house(way):
    """A server of everything over HTTP."""
    ends = (CHAT, EARS, SPEECH, TOKENS, MODELS)
    with StandIn() as server:
        if way == "well":
            answers = (says("Here."), hears("Here."), sounds(), writes(7, 8))
        elif way == "cut":
            answers = (breaks_off("Half"), hears("Here."), cut_sound, writes(7, whole=False))
        elif way == "busy":
            answers = (fails(503, "I am busy."),) * len(ends)
        else:
            answers = (stalls(3 * PATIENCE),) * len(ends)
        for end, answer in zip(ends, answers, strict=False):
            server.on(end, answer)
        yield server.url, lambda: len(server.asked)


@dataclass
class Line:
    """The other end of `/v1/realtime`.

    Attributes:
        way: What it does.
        dialled: How often.
    """

    way: str
    dialled: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def greet(self, line, request):
        self.dialled += 1
        if self.way == "busy":
            return line.respond(503, "I am busy.")
        return None

    def talk(self, line):
        line.send(json.dumps({"type": "session.created", "session": {"type": "realtime"}}))
        for text in line:
            if json.loads(text)["type"] == "response.create":
                break
        if self.way == "silent":
            self.over.wait()
        elif self.way == "failing":
            error = {"type": "server_error", "code": "response_failed", "message": "I fell ill."}
            line.send(json.dumps({"type": "error", "event_id": "e", "error": error}))
        else:
            delta = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
            delta |= {"type": "response.output_text.delta", "event_id": "e", "delta": "Here."}
            line.send(json.dumps(delta))
            if self.way == "well":
                done = {"id": "r", "object": "realtime.response", "status": "completed"}
                line.send(json.dumps({"type": "response.done", "event_id": "f", "response": done}))


@contextmanager
def line(way):
    """A server of whole conversations."""
    end = Line(way)
    with serve(end.talk, "127.0.0.1", 0, process_request=end.greet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}/v1", lambda: end.dialled
        finally:
            end.over.set()
            server.shutdown()
            thread.join()


# What asks them: each gives what came of it, piece by piece, and tells what should be known.


def chat(remote, question, tell):
    with closing(RemoteChat(remote, "m")) as model:
        said = []
        try:
            asked = [Prompt("user", "Hello.")]
            bound = model.bound(Wishes(), Cancel(), tell)
            bound.reply(asked, Sampling(), said.append, Cancel())
        finally:
            yield from said


def ears(remote, question, tell):
    with closing(RemoteRecognizer(remote, "m")) as recognizer:
        yield recognizer.bound(Wishes(), Cancel(), tell).recognize(question).text


def voice(remote, question, tell):
    with closing(RemoteSynthesizer(remote, "m", (Voice("alloy", "en", ""),))) as synthesizer:
        bound = synthesizer.bound(Wishes(), Cancel(), tell)
        random = np.random.default_rng(0)
        with bound.begin("alloy", style="", random=random, cancel=Cancel()) as reply:
            yield from reply.speak("Hello.")


def conversation(remote, question, tell):
    service = RealtimeService(url=remote.urls, timeout=remote.timeout)
    _, _, make = realtime(Engine(name="line", realtime=service))
    with closing(Servers(service.remote)) as borrowed:

        class Lent:
            @contextmanager
            def use(self, *names, cancel):
                yield (borrowed,)

        engine = make(Lent())
        for event in engine.converse(Turn(text="Hi."), Conversation(), cancel=Cancel()):
            if isinstance(event, Notice):
                tell(event.text)
            elif isinstance(event, TextDelta):
                yield event.text


def tokens(remote, question, tell):
    with closing(TokenServer(remote)) as server:
        yield from server.generate(
            [1, 2], drawing=Drawing(0.0), max_tokens=9, cancel=Cancel(), tell=tell
        )


KINDS = {
    "chat": (house, chat),
    "ears": (house, ears),
    "voice": (house, voice),
    "conversation": (line, conversation),
    "tokens": (house, tokens),
}
kinds = pytest.mark.parametrize(("place", "ask"), KINDS.values(), ids=KINDS)


@kinds
@pytest.mark.parametrize("way", ["dead", "busy", "silent"])
def test_the_next_one_answers_and_this_is_said(place, ask, question, way):
    told = []
    with place("well" if way == "dead" else way) as (first, _), place("well") as (second, _):
        urls = (DEAD if way == "dead" else first, second)
        timeout = PATIENCE if way == "silent" else 60.0
        came = list(ask(Remote(urls, timeout=timeout), question, told.append))
    assert came
    assert set(told) == {f"The server at {urls[0]} is down or busy; {second} answers instead."}


@kinds
def test_all_are_named_when_none_answers(place, ask, question):
    told = []
    with place("busy") as (busy, asked):
        with pytest.raises(UnavailableError, match="None of the 2 servers answers") as failure:
            list(ask(Remote((DEAD, busy)), question, told.append))
        # All is tried again, and again.
        assert asked() == 3
    assert f"No server answers at {DEAD}." in str(failure.value)
    assert f"The server at {busy} failed with status 503" in str(failure.value)
    assert not told


@pytest.mark.parametrize("kind", ["chat", "voice", "conversation", "tokens"])
def test_nobody_else_is_asked_once_a_part_of_the_answer_came(kind, question):
    place, ask = KINDS[kind]
    came = []
    with place("cut") as (first, _), place("well") as (second, asked):
        with pytest.raises(EngineError):
            came.extend(piece for piece in ask(Remote((first, second)), question, came.append))
        assert asked() == 0


def test_a_line_that_only_says_that_it_failed_is_left_for_the_next(question):
    told = []
    with line("failing") as (first, _), line("well") as (second, _):
        assert list(conversation(Remote((first, second)), question, told.append)) == ["Here."]
        assert second in told[0]
        with pytest.raises(ParleyError, match="I fell ill"):
            list(conversation(Remote((first,)), question, told.append))


# Who is told


@pytest.fixture
def away(tmp_path):
    """Settings of an engine each part of which has a dead address and one that answers."""
    with house("well") as (url, _):
        parts = "".join(
            f'[away.{part}]\nurl = ["{DEAD}", "{url}"]\n'
            for part in ("chat", "recognizer", "synthesizer")
        )
        file = tmp_path / "engines.toml"
        file.write_text(f'[away]\ntitle = "Away"\n{parts}voices = ["alloy"]\n')
        options = {"warm": False, "engines": file, "data": tmp_path, "engine": "away", "port": 0}
        yield Settings(_env_file=None, **options), f"{url} answers instead"


def notices(events):
    return [event.text for event in events if isinstance(event, Notice)]


def test_each_task_tells_it_once(away, question):
    settings, words = away
    with Services(settings) as services:
        for events in (
            services.transcribe(question, cancel=Cancel()),
            services.speak("Hello there. And again.", cancel=Cancel()),
            services.converse(Turn(question), Conversation(), cancel=Cancel()),
        ):
            (told,) = notices(events)
            assert words in told


async def live(url):
    """What a live conversation is told of a typed turn."""
    async with live_line.dial(url) as line:
        await live_line.receive(line, "session.created")
        await live_line.ask(line, "Hello.")
        return await live_line.receive(line, "parley.notice")


def test_programs_are_told(away):
    settings, words = away
    with Services(settings) as services:
        page = launch(services, block=False)
        try:
            client = openai.OpenAI(base_url=f"{page.local_url}v1", api_key="none")
            options = {"model": "away", "messages": [{"role": "user", "content": "Hello."}]}
            told = client.chat.completions.create(**options)
            assert words in told.parley["notices"][0]
            *_, last = client.chat.completions.create(**options, stream=True)
            assert words in last.parley["notices"][0]
            assert words in asyncio.run(live(page.local_url))["message"]
        finally:
            page.close()


def test_the_command_line_tells_it(away, monkeypatch, tmp_path, capfd):
    (settings, words), clip = away, str(SAMPLES / "sky.wav")
    for name in ("engines", "data", "engine"):
        monkeypatch.setenv(f"PARLEY_{name.upper()}", str(getattr(settings, name)))
    assert app.main(["--no-warm", "ask", clip, "-o", str(tmp_path / "reply.wav")]) == 0
    told = capfd.readouterr()
    assert "Here." in told.out and words in told.err
    assert app.main(["--no-warm", "transcribe", clip]) == 0
    told = capfd.readouterr()
    assert "Here." in told.out and words in told.err
