"""The talk tab's line: a full room, a drop, a session that is resumed, an idle end.

The real server is at its end; `Between` says to the page what that one does not say by itself
in a test: that the room is full, that it restarts, that it remembers.
"""

import re

import pytest
from between import Between
from conftest import SAMPLES

pytest_plugins = ["talk_fixtures"]
pytestmark = pytest.mark.browser


def test_a_full_room_is_waited_for(open_talk):
    caller = open_talk()
    between = Between(caller)
    between.holds = True
    caller.type("Say hello.")
    caller.wait_for(lambda: between.urls, what="the connection")
    between.say("parley.queue", ahead=2, message="The room is full. 2 before you.")
    caller.wait_for(lambda: caller.state() == "waiting", what="the queue")
    assert caller.note() == "The room is full. 2 before you."
    caller.shoot("talk-waiting")
    between.say("parley.queue", ahead=1, message="The room is full. 1 before you.")
    caller.wait_for(lambda: "1 before you" in caller.note(), what="the queue to move")
    assert not between.sent, "something was said before there was a session"
    between.let_go()
    caller.wait_for(lambda: caller.said("user") == ["Say hello."], what="the message")
    assert caller.note() == ""
    assert between.sent[0]["type"] == "session.update"
    caller.wait_for(caller.waterfalls, what="the reply")
    assert between.told() == ["Say hello."]


def test_a_place_in_the_queue_can_be_given_up(open_talk):
    caller = open_talk()
    between = Between(caller)
    between.holds = True
    caller.call()
    caller.wait_for(lambda: between.urls, what="the connection")
    between.say("parley.queue", ahead=2, message="The room is full. 2 before you.")
    caller.wait_for(lambda: caller.state() == "waiting", what="the queue")
    caller.call()
    assert caller.state() == "ready"
    assert not caller.page.evaluate("view => view.client.microphone", caller.view())
    between.holds = False
    caller.listens()
    assert len(between.urls) == 2


def test_a_session_is_resumed_and_not_told_again(open_talk):
    caller = open_talk()
    between = Between(caller)
    caller.keep_notes()
    caller.type("My boat is called Pelican. Say hello to it.")
    caller.wait_for(lambda: caller.state() == "ready" and caller.waterfalls(), what="the reply")
    between.resumes = True
    between.hang_up(1012, "The server restarts.")
    caller.wait_for(lambda: len(between.urls) == 2 and between.sent, what="the next connection")
    caller.wait_for(lambda: not caller.note(), what="the line")
    assert "The server restarts. Trying again …" in caller.notes()
    assert "resume=key-1" in between.urls[1]
    caller.type("Good.")
    caller.wait_for(lambda: between.told() == ["Good."], what="the message, and nothing else")
    # A fresh key came with it; a server that does not know that one is told everything.
    caller.wait_for(lambda: caller.state() == "ready" and len(caller.waterfalls()) == 2)
    between.resumes = False
    between.hang_up(1012, "The server restarts.")
    caller.wait_for(lambda: len(between.urls) == 3 and len(between.told()) == 4, what="the rest")
    assert "resume=key-2" in between.urls[2]
    assert between.told()[0] == "My boat is called Pelican. Say hello to it."
    assert between.told()[2] == "Good."


def test_a_reply_cut_by_a_drop_is_truncated_once_resumed(open_talk):
    caller = open_talk()
    between = Between(caller)
    caller.type("Count from one to one hundred in words, separated by commas.")
    caller.wait_for(lambda: caller.figures()["playedMs"] > 300, what="sound")
    between.resumes = True
    between.hang_up(1012, "The server restarts.")
    caller.wait_for(lambda: len(between.urls) == 2 and len(between.sent) > 2, what="the next line")
    (truncate,) = between.of("conversation.item.truncate")
    assert truncate["audio_end_ms"] >= 200
    assert not between.told()


def test_words_recognized_while_the_line_was_down_are_asked_for(open_talk):
    caller = open_talk()
    between = Between(caller)
    caller.listens()
    between.drops.add("conversation.item.input_audio_transcription.completed")
    caller.say(SAMPLES / "bees.wav")
    caller.wait_for(lambda: between.passed("conversation.item.done"), what="the turn")
    between.resumes = True
    between.hang_up(1012, "The server restarts.")
    caller.wait_for(lambda: between.of("conversation.item.retrieve"), what="the question")
    item = between.of("conversation.item.retrieve")[0]["item_id"]
    content = [{"type": "input_audio", "transcript": "How do bees make honey?"}]
    between.say(
        "conversation.item.retrieved", item={"id": item, "role": "user", "content": content}
    )
    caller.wait_for(lambda: caller.said("user") == ["How do bees make honey?"], what="the words")


def test_an_idle_end_is_final_until_somebody_types(open_talk):
    caller = open_talk()
    between = Between(caller)
    caller.type("My boat is called Pelican. Say hello to it.")
    caller.wait_for(lambda: caller.state() == "ready" and caller.waterfalls(), what="the reply")
    between.hang_up(4408, "Nothing was said for 10 minutes.")
    caller.wait_for(lambda: caller.note() == "Nothing was said for 10 minutes.", what="the reason")
    assert caller.state() == "ready"
    assert len(between.urls) == 1
    caller.type("What is my boat called?")
    caller.wait_for(lambda: len(caller.waterfalls()) == 2, what="the answer")
    assert "resume" not in between.urls[1]
    assert "Pelican" in caller.said("assistant")[-1], "the new line does not know the dialogue"
    assert caller.note() == ""


def test_a_room_without_a_queue_says_that_it_is_full(open_talk):
    caller = open_talk()
    caller.page.route_web_socket(
        re.compile("/v1/realtime"),
        lambda socket: socket.close(code=1013, reason="The room is full. Try again later."),
    )
    caller.call()
    caller.wait_for(lambda: "Try again later" in caller.note(), what="the reason")
    assert caller.state() == "ready"
    assert not caller.page.evaluate("view => view.client.microphone", caller.view())
