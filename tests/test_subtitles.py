"""Nothing here can write down what was said: it is answered all the same, and told once why."""

import asyncio
import json
from contextlib import contextmanager

import live_line
import numpy as np
import pytest
import slow_engine

from demos.page import launch
from demos.thread import Ask, Reply, Thread
from engines.base import Cancel, Stopwatch
from engines.messages import Finished, Notice, TextDelta, Timings, Transcript
from engines.subtitles import Subtitles
from errors import UnavailableError
from services import Services
from settings import Settings
from speech.pcm import Audio

pytest_plugins = ["talk_fixtures"]

MISSING = """Whisper base (v2.1) is not complete and Parley is offline. Missing:
- config.json: 2309 bytes, to be put at /data/weights/whisper-base/config.json"""
TOLD = "cannot be shown in writing: Whisper base (v2.1) is not complete and Parley is offline."


class Nothing:
    """Models of which none can be had."""

    def __init__(self, reason):
        self.reason = reason

    @contextmanager
    def use(self, *names, cancel):
        raise UnavailableError(self.reason)
        yield ()


@pytest.mark.parametrize(
    ("reason", "told"), [(MISSING, TOLD), ("No room for it", "in writing: No room for it")]
)
def test_the_reason_is_told_and_not_the_list_of_files(reason, told):
    subtitles = Subtitles(
        Nothing(reason), "whisper", Audio(np.zeros(16_000, np.float32), 16_000), None
    )
    notice, transcript = subtitles.write(Stopwatch(), Cancel())
    assert notice.text.endswith(told) and notice.once
    assert transcript == Transcript("", True, (), 1.0, None)


class Unwritten(slow_engine.Slow):
    """An engine that nobody writes down for, and of whose replies a part is not spoken."""

    def converse(self, turn, conversation, voice=None, *, cancel, **options):
        yield Notice("No words are shown.", once=True)
        yield Notice("Not spoken.")
        yield from self._work(cancel)


def test_a_live_conversation_is_told_once():
    engine = Unwritten()
    settings = Settings(_env_file=None, port=0, warm=False, engine="slow")

    async def told(url):
        """What comes before the end of two replies."""
        notices = []
        async with live_line.dial(url) as line:
            for _ in range(2):
                engine.go.release(engine.chunks)
                await live_line.ask(line, "Go on.")
                kind = ""
                while kind != "response.done":
                    event = json.loads(await line.recv())
                    kind = event["type"]
                    if kind == "parley.notice":
                        notices.append(event["message"])
        return notices

    with Services(settings, [slow_engine.entry(engine)]) as services:
        page = launch(services, block=False)
        for _ in range(2):  # Another conversation is told, too.
            assert asyncio.run(told(page.local_url)) == [
                "No words are shown.",
                "Not spoken.",
                "Not spoken.",
            ]
        page.close()


def test_the_chat_is_told_once():
    thread = Thread()
    for _ in range(2):
        reply = Reply(
            thread.asking(Ask(text="Hello."), system="", limit=10), None, is_transcript=False
        )
        for event in (
            Notice("No words are shown.", once=True),
            Notice("Not spoken."),
            TextDelta("Hello."),
            Finished(Timings()),
        ):
            reply.take(event)
        thread = reply.end()
    shown = str(thread.messages)
    assert shown.count("No words are shown.") == 1
    assert shown.count("Not spoken.") == 2


@pytest.mark.browser
def test_the_talk_tab_says_so_and_the_empty_line_goes(open_talk):
    caller = open_talk(size=(390, 844))
    said = {"item_id": "said", "content_index": 0, "transcript": ""}
    caller.dispatch("input_audio_buffer.speech_started", item_id="said", audio_start_ms=0)
    caller.dispatch("input_audio_buffer.committed", item_id="said", previous_item_id=None)
    assert caller.page.locator(".talk-pending").count() == 1
    caller.dispatch("parley.notice", response_id="reply", message=TOLD)
    caller.dispatch("conversation.item.input_audio_transcription.completed", **said)
    assert caller.note() == TOLD
    assert caller.page.locator(".talk-pending").count() == 0
    caller.shoot("talk-unwritten")
