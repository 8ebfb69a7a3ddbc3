"""What a page shows where the engine chose silence."""

import pytest

from demos.clips import Player
from demos.thread import Ask, Reply, Thread
from engines.messages import Finished, Timings, Transcript, Unanswered

pytest_plugins = ["talk_fixtures"]

SILENCE = "It chose not to answer: that was not meant for it."


def test_the_chat_says_so_and_remembers_nothing():
    thread = Thread().asking(Ask(text="Pass the salt."), system="", limit=20)
    reply = Reply(thread, Player(), is_transcript=False)
    for event in (Transcript("Pass the salt.", True), Unanswered(SILENCE), Finished(Timings())):
        reply.take(event)
    ended = reply.end()
    assert ended.conversation.messages == ()
    told = [m["content"] for m in ended.messages if m["role"] == "assistant"]
    assert SILENCE in told[0]
    assert "parley-notice" in told[0]


@pytest.mark.browser
def test_the_talk_tab_says_so_beside_what_it_heard(open_talk):
    caller = open_talk()
    caller.type("Hello.")
    caller.wait_for(caller.waterfalls, what="the reply")
    heard = {"item_id": "overheard", "content_index": 0, "transcript": "Pass the salt."}
    caller.dispatch("input_audio_buffer.speech_started", item_id="overheard", audio_start_ms=0)
    caller.dispatch("input_audio_buffer.committed", item_id="overheard", previous_item_id=None)
    caller.dispatch("conversation.item.input_audio_transcription.completed", **heard)
    caller.dispatch("parley.unanswered", item_id="overheard", message=SILENCE)
    row = caller.page.locator(".talk-unanswered")
    assert "Pass the salt." in row.inner_text()
    assert SILENCE in row.inner_text()
    assert caller.page.locator(".talk-note").inner_text() == SILENCE
