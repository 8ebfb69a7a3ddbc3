"""Ears and voice over HTTP, and cascades all of whose parts lie elsewhere."""

import io
import threading
import time

import numpy as np
import pytest
import soundfile
from standin import CHAT, EARS, SPEECH, StandIn, breaks_off, fails, hears, says, sends, sounds
from starlette.applications import Starlette
from starlette.testclient import TestClient

from access import Access
from engines.base import Cancel, Reference, Voice, Wishes
from engines.messages import AudioChunk, Conversation, Finished, Notice, TextDelta, Transcript, Turn
from engines.remote import servers
from engines.remote.address import Remote
from engines.remote.recognizer import RemoteRecognizer
from engines.remote.synthesizer import RemoteSynthesizer
from errors import CancelledError, EngineError, InputError, UnavailableError
from rest.routes import Rest
from services import Services
from settings import Settings
from speech.pcm import Audio, concatenate

OK = 200
VOICES = (Voice("alloy", "en", ""), Voice("echo", "en", ""))
WORDS = ("One sentence is here. ", "And one more is there. ", "The end is near.")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(servers, "PAUSES", (0.01, 0.02))


@pytest.fixture
def house():
    with StandIn() as house:
        house.on(EARS, hears("Hello there."))
        house.on(CHAT, says(*WORDS))
        house.on(SPEECH, sounds())
        yield house


@pytest.fixture
def ears(house):
    recognizer = RemoteRecognizer(Remote((house.url,)), "whisper-1")
    yield recognizer
    recognizer.close()


@pytest.fixture
def voice(house):
    synthesizer = RemoteSynthesizer(Remote((house.url,)), "tts-1", VOICES)
    yield synthesizer
    synthesizer.close()


@pytest.fixture
def away(house, tmp_path):
    """Services with an engine all of whose parts are at the stand-in."""
    places = f'url = "{house.url}"\nkey_env = "STANDIN_KEY"\n'
    parts = "".join(f"[away.{part}]\n{places}" for part in ("chat", "recognizer", "synthesizer"))
    file = tmp_path / "engines.toml"
    file.write_text(f'[away]\ntitle = "Away"\n{parts}voices = ["alloy", "echo"]\n')
    settings = Settings(_env_file=None, warm=False, engines=file, data=tmp_path, engine="away")
    with Services(settings) as services:
        yield services


def speak(synthesizer, clause="Hello there.", voice="alloy", style="", cancel=None):
    cancel = cancel or Cancel()
    bound = synthesizer.bound(Wishes(), cancel, lambda text: None)
    random = np.random.default_rng(0)
    with bound.begin(voice, style=style, random=random, cancel=cancel) as reply:
        yield from reply.speak(clause)


def ask(services, cancel=None, **options):
    turn = options.pop("turn", Turn(text="Go on."))
    return services.converse(turn, Conversation(), cancel=cancel or Cancel(), **options)


# Ears


def test_a_clip_is_recognized_with_its_words(house, ears, question):
    words = [{"word": "Hello", "start": 0.1, "end": 0.4}, {"word": "there", "start": 0.5, "end": 1}]
    house.on(EARS, hears(" Hello there. ", words=words, language="en"))
    heard = ears.expecting("Parley").recognize(question, "en")
    assert heard.text == "Hello there."
    assert [(span.text, span.start) for span in heard.spans] == [("Hello", 0.1), ("there", 0.5)]
    body = house.of(EARS)[0].body
    for field in (b"whisper-1", b"Parley", b"verbose_json"):
        assert field in body
    clip = body[body.index(b"RIFF") :]
    samples, rate = soundfile.read(io.BytesIO(clip[: 44 + 2 * round(question.seconds * 16_000)]))
    assert rate == 16_000
    assert len(samples) == pytest.approx(question.seconds * rate, abs=2)


def test_ears_without_times_are_asked_without(house, ears, question):
    house.on(EARS, fails(400, "response_format 'verbose_json' is not supported"), hears("Hello."))
    assert ears.recognize(question).text == "Hello."


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (fails(500), EngineError, "status 500"),
        (fails(404), UnavailableError, "no such model"),
        (sends("<html>"), EngineError, "no answer of an OpenAI-style API"),
        (sends('{"said": 1}', "application/json"), EngineError, "no answer of an OpenAI"),
        (breaks_off(), EngineError, "no answer|No server answers|cut|broke"),
    ],
)
def test_what_is_wrong_with_ears_is_said(house, ears, question, answer, kind, words):
    house.on(EARS, answer)
    with pytest.raises((kind, UnavailableError), match=words):
        ears.recognize(question)


# Voice


@pytest.mark.parametrize("step", [1, 2401, 10**6])
def test_pcm_comes_whole_whatever_its_pieces(house, voice, step):
    house.on(SPEECH, sounds(0.25, 0.02 if step == 1 else 0.5, step=step))
    sound = concatenate(list(speak(voice)))
    assert sound.rate == 24_000
    assert sound.seconds == pytest.approx(0.02 if step == 1 else 0.5)
    assert np.allclose(sound.samples, 0.25, atol=1e-4)


def test_pieces_are_heard_while_the_server_makes_more(house, voice):
    house.on(SPEECH, sounds(seconds=2, step=4800, every=0.05))
    came = [time.monotonic() for _ in speak(voice)]
    assert len(came) >= 10
    assert came[-1] - came[0] > 0.5


def test_another_rate_is_brought_to_ours_without_seams(house, voice):
    def answer(call):
        call.begin("audio/pcm; rate=16000")
        wave = 0.3 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
        data = np.round(wave * 32767).astype("<i2").tobytes()
        for at in range(0, len(data), 1001):
            call.piece(data[at : at + 1001])
        call.end()

    house.on(SPEECH, answer)
    sound = concatenate(list(speak(voice)))
    assert sound.seconds == pytest.approx(1, abs=0.01)
    assert np.abs(np.diff(sound.samples)).max() < 0.02


def test_style_and_voice_are_asked_for(house, voice):
    list(speak(voice, voice="echo", style="in a whisper"))
    asked = house.of(SPEECH)[0].json
    assert asked["voice"] == "echo"
    assert asked["instructions"] == "in a whisper"
    assert asked["response_format"] == "pcm"


def test_a_recording_goes_along_as_vllm_omni_takes_it(house, voice, question):
    list(speak(voice, voice=Reference("Ann", question, "Why is the sky blue?")))
    asked = house.of(SPEECH)[0].json
    assert asked["ref_audio"].startswith("data:audio/wav;base64,UklGR")
    assert asked["ref_text"] == "Why is the sky blue?"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (fails(500, "no memory"), "no memory"),
        (sends("", "audio/pcm"), "no answer of an OpenAI"),
        (sends('{"error": "x"}', "application/json"), "no answer of an OpenAI"),
    ],
)
def test_what_is_wrong_with_a_voice_is_said(house, voice, answer, words):
    house.on(SPEECH, answer)
    with pytest.raises(EngineError, match=words):
        list(speak(voice))


def test_a_slow_listener_slows_the_server(house, voice):
    """A hundred megabytes would come; what nobody takes is not even sent."""
    sent = []

    def answer(call):
        call.begin("audio/pcm")
        for _ in range(1600):
            call.piece(bytes(65_536))
            sent.append(1)
        call.end()

    house.on(SPEECH, answer)
    pieces = speak(voice)
    next(pieces)
    time.sleep(0.7)
    assert len(sent) < 800
    pieces.close()
    deadline = time.monotonic() + 5
    while not house.left and time.monotonic() < deadline:
        time.sleep(0.02)
    assert house.left == 1


# All of it


def test_an_engine_all_of_whose_parts_are_elsewhere(away, house, question):
    events = list(ask(away, turn=Turn(question)))
    assert next(e for e in events if isinstance(e, Transcript) and e.final).text == "Hello there."
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "".join(WORDS)
    assert sum(e.audio.seconds for e in events if isinstance(e, AudioChunk)) > 1
    assert isinstance(events[-1], Finished)
    # Nothing was loaded here for it.
    taken = [status for status in away.models.status() if status.state == "ready"]
    assert {status.device for status in taken} == {"remote"}
    assert house.of(CHAT)[0].json["messages"][-1]["content"] == "Hello there."


def test_a_sentence_that_fails_over_http_is_reported(away, house):
    house.on(SPEECH, sounds(), *[fails(503, "busy")] * 3, sounds())
    events = list(ask(away))
    told = [event.text for event in events if isinstance(event, Notice)]
    assert len(told) == 1 and "busy" in told[0] and WORDS[1].strip() in told[0]
    spoken = " ".join(e.text.strip() for e in events if isinstance(e, AudioChunk) and e.text)
    assert WORDS[0].strip() in spoken and WORDS[2] in spoken


def test_an_interruption_ends_all_three_and_nothing_is_heard_later(away, house, question):
    """Sentence k of turn n is never heard in turn n+1: each turn has a level of its own."""
    for turn in range(1, 7):
        level = 0.1 * turn
        house.on(CHAT, says(*WORDS, *[f"Number {n}. " for n in range(200)], every=0.01))
        house.on(SPEECH, sounds(level, seconds=5, step=2400, every=0.005))
        cancel, heard = Cancel(), []
        with pytest.raises(CancelledError):
            for event in ask(away, cancel, turn=Turn(question)):
                if isinstance(event, AudioChunk):
                    heard.append(event.audio.samples)
                    if len(heard) == turn:
                        cancel.set()
        assert max(np.abs(samples).max() for samples in heard) == pytest.approx(level, abs=1e-3)
    deadline = time.monotonic() + 5
    while house.left < 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert house.left >= 12, "a server went on after an interruption"


def test_a_cancel_while_the_ears_are_busy(away, house, question):
    waiting = threading.Event()

    def answer(call):
        waiting.set()
        time.sleep(3)

    house.on(EARS, answer)
    cancel = Cancel()
    threading.Thread(target=lambda: waiting.wait(5) and cancel.set(), daemon=True).start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        list(ask(away, cancel, turn=Turn(question)))
    assert time.monotonic() - began < 2.5


def test_a_cut_answer_is_spoken_and_then_told(away, house):
    house.on(CHAT, breaks_off(*WORDS[:2]))
    said = spoken = ""
    with pytest.raises(EngineError, match="cut"):
        for event in ask(away):
            if isinstance(event, TextDelta):
                said += event.text
            if isinstance(event, AudioChunk):
                spoken += event.text
    assert said == "".join(WORDS[:2])
    assert "And one more is there." in spoken


def test_style_and_key_come_from_the_session(away, house, monkeypatch):
    list(ask(away, wishes=Wishes(style="softly", key="sk-mine", model="big")))
    list(ask(away))
    keys = [asked.headers["authorization"] for asked in house.of(CHAT)]
    assert keys == ["Bearer sk-mine", "Bearer none"]
    assert house.of(CHAT)[0].json["model"] == "big"
    assert house.of(SPEECH)[0].json["instructions"] == "softly"
    assert "instructions" not in house.of(SPEECH)[-1].json
    # The voice is at the same place, so it is let in by the same key.
    assert house.of(SPEECH)[0].headers["authorization"] == "Bearer sk-mine"


def test_our_own_api_passes_the_manner_on(away, house):
    app = Starlette(routes=Rest(away, Access(away.settings)).routes())
    with TestClient(app, "http://127.0.0.1") as client:
        body = {"model": "away", "input": "Hello there.", "response_format": "pcm"}
        manner = {"instructions": " in a whisper "}
        assert client.post("/v1/audio/speech", json={**body, **manner}).status_code == OK
        assert client.post("/v1/audio/speech", json=body).status_code == OK
        listed = {model["id"]: model["parley"] for model in client.get("/v1/models").json()["data"]}
    asked = [call.json for call in house.of(SPEECH)]
    assert asked[0]["instructions"] == "in a whisper"
    assert "instructions" not in asked[-1]
    assert "style" in listed["away"]["wishes"]


def test_eight_sessions_hear_their_own_words(away, house):
    def answer(call):
        number = call.asked.json["messages"][-1]["content"]
        says(f"You are number {number}. ", "Good.", every=0.01)(call)

    house.on(CHAT, answer)
    answers = {}

    def session(number):
        events = ask(away, turn=Turn(text=str(number)))
        answers[number] = "".join(e.text for e in events if isinstance(e, TextDelta))

    threads = [threading.Thread(target=session, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {n: f"You are number {n}. Good." for n in range(8)}


def test_a_voice_that_is_not_there(away):
    with pytest.raises(InputError, match="nobody"):
        list(away.speak("Hello.", "nobody", cancel=Cancel()))


def test_pauses_and_edges_are_as_for_a_local_voice(away, house):
    house.on(SPEECH, sounds(0.3, 0.5))
    sound = np.concatenate([e.audio.samples for e in ask(away) if isinstance(e, AudioChunk)])
    assert np.abs(np.diff(sound)).max() < 0.02
    assert abs(sound[0]) < 0.01 and abs(sound[-1]) < 0.01
    assert Audio(sound, 24_000).seconds == pytest.approx(3 * 0.5 + 2 * 0.28, abs=0.1)
