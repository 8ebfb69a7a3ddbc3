"""The talk tab in a real browser: a spoken dialogue of two turns, the second an interruption."""

import pytest
from conftest import SAMPLES

pytest_plugins = ["talk_fixtures"]
pytestmark = pytest.mark.browser

#: From an interruption to silence, ms by the clock of the sound; one that comes while the thread of
#: sound is late takes longer than most do (see test_talk_player.py).
SILENCE = 50
BEES, SKY = SAMPLES / "bees.wav", SAMPLES / "sky.wav"


def test_a_dialogue_with_an_interruption(open_talk):
    caller = open_talk()
    caller.listens()
    caller.say(BEES)
    caller.wait_for(lambda: caller.said("user"), what="the first transcript")
    assert caller.said("user") == ["How do bees make honey?"]
    caller.say(SKY, over=400)
    silent = caller.wait_for(lambda: caller.figures()["silentMs"], what="the interruption")
    assert silent <= SILENCE
    caller.wait_for(lambda: len(caller.said("user")) == 2, what="the second transcript")
    caller.wait_for(lambda: caller.page.query_selector(".talk-unheard"), what="what was not heard")
    caller.wait_for(lambda: len(caller.waterfalls()) == 2, what="both waterfalls")
    assert all("ms" in line for line in caller.waterfalls())
    assert "2 turns" in caller.page.inner_text(".talk-figures")
    caller.wait_for(lambda: caller.state() == "listening", what="the end of the reply")
    print(caller.figures(), caller.waterfalls(), caller.page.inner_text(".talk-figures"))
    caller.page.click(".talk-waterfall summary >> nth=0")
    caller.shoot("talk")
    caller.call()
    assert caller.state() == "ready"


def test_typing_needs_no_microphone_and_interrupts(open_talk):
    caller = open_talk(dark=True)
    caller.type("Count from one to one hundred in words, separated by commas.")
    caller.wait_for(lambda: caller.figures()["playedMs"] > 500, what="sound")
    caller.type("What is the capital of France?")
    silent = caller.wait_for(lambda: caller.figures()["silentMs"], what="silence")
    assert silent <= SILENCE
    caller.wait_for(lambda: "Paris" in caller.said("assistant")[-1], what="the answer")
    caller.wait_for(lambda: len(caller.waterfalls()) == 2, what="both waterfalls")
    assert "no turns yet" in caller.page.inner_text(".talk-figures"), "typed turns are not timed"
    caller.shoot("talk-dark")


def test_escape_stops(open_talk):
    caller = open_talk()
    caller.type("Count from one to one hundred in words, separated by commas.")
    caller.wait_for(lambda: caller.state() == "speaking", what="sound")
    caller.page.keyboard.press("Escape")
    caller.wait_for(lambda: caller.figures()["silentMs"], what="silence")
    caller.wait_for(lambda: caller.state() == "ready", what="the end")


def test_push_to_talk(open_talk):
    # With the browser's own device, which says its question whenever it likes.
    caller = open_talk(size=(390, 844), own_device=True)
    caller.page.click(".talk-side > summary")
    caller.page.check("input[value=push]")
    caller.page.click(".talk-side > summary")
    caller.listens()
    caller.page.evaluate("document.activeElement.blur()")
    caller.hear_to_the_end()
    caller.page.keyboard.down(" ")
    caller.wait_for(lambda: caller.state() == "hearing", what="the press")
    caller.hear_to_the_end()
    caller.page.keyboard.up(" ")
    caller.wait_for(lambda: caller.said("user"), what="the transcript")
    assert "bees" in caller.said("user")[0]
    # Nobody presses during the next question, so nothing is interrupted.
    caller.hear_to_the_end()
    caller.wait_for(caller.waterfalls, what="the reply")
    caller.wait_for(lambda: caller.state() == "ready", what="the end of the reply")
    assert caller.figures()["silentMs"] is None
    assert len(caller.said("user")) == 1
    wide = caller.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, f"the page is {wide} px wide"
    caller.shoot("talk-narrow")


def test_half_duplex_is_deaf_while_it_speaks(open_talk):
    caller = open_talk()
    caller.page.check("input[value=half]")
    caller.listens()
    caller.type("Count from one to one hundred in words, separated by commas.")
    caller.say(SKY, over=200)
    said = caller.figures()["playedMs"]
    caller.wait_for(lambda: caller.figures()["playedMs"] > said + 500, what="sound to go on")
    assert len(caller.said("user")) == 1, "it has heard what was said over it"
    assert caller.state() == "speaking"
    assert caller.figures()["silentMs"] is None
    caller.page.keyboard.press("Escape")
    caller.wait_for(lambda: caller.state() == "listening", what="the end of the reply")
    caller.say(BEES)
    caller.wait_for(lambda: len(caller.said("user")) == 2, what="the transcript")
    assert caller.said("user")[1] == "How do bees make honey?"


def test_a_dropped_line_is_taken_up_again(open_talk):
    caller = open_talk()
    caller.type("My boat is called Pelican. Say hello to it.")
    caller.wait_for(caller.waterfalls, what="the reply")
    caller.keep_notes()
    caller.page.evaluate("element => element.client.line.socket.close(4000)", caller.view())
    caller.wait_for(lambda: "" in caller.notes(), what="the new line")
    assert "dropped" in caller.notes()[0]
    caller.type("What is my boat called?")
    caller.wait_for(lambda: len(caller.waterfalls()) == 2, what="the answer")
    assert "Pelican" in caller.said("assistant")[-1], "the new line does not know the dialogue"


def test_a_page_without_a_microphone_says_so(open_talk):
    caller = open_talk()
    caller.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia ="
        " async () => { throw new DOMException('', 'NotFoundError'); }; }"
    )
    caller.call()
    caller.wait_for(lambda: "no microphone" in caller.note(), what="the reason")
    assert caller.state() == "ready"


def test_an_impatient_press_opens_one_microphone(open_talk):
    caller = open_talk()
    caller.page.evaluate(
        """() => {
          const { mediaDevices } = navigator;
          const ask = mediaDevices.getUserMedia;
          const allowed = new Promise((resolve) => (window.allow = resolve));
          window.asked = 0;
          mediaDevices.getUserMedia = (wanted) => {
            window.asked++;
            return allowed.then(() => ask(wanted));
          };
        }"""
    )
    caller.call()
    caller.call()
    caller.page.evaluate("allow()")
    caller.wait_for(lambda: caller.page.query_selector(".talk[data-line=open]"), what="the line")
    assert caller.page.evaluate("asked") == 1


def test_a_refusal_is_told_in_the_servers_words(open_talk):
    caller = open_talk()
    caller.page.evaluate(
        "view => { view.client.line.getToken = async () => 'spent'; }", caller.view()
    )
    caller.type("Hello.")
    caller.wait_for(lambda: "token was used" in caller.note(), what="the reason")
    assert caller.state() == "ready"


def test_changing_the_mode_in_mid_word_leaves_no_state_behind(open_talk):
    caller = open_talk()
    caller.listens()
    caller.say(SAMPLES / "story.wav", wait=False)
    caller.wait_for(lambda: caller.state() == "hearing", what="speech")
    caller.page.check("input[value=push]")
    caller.wait_for(lambda: caller.state() == "ready", what="the new mode")


def test_other_tabs_leave_the_conversation_alone(open_talk):
    caller = open_talk()
    caller.type("Count from one to one hundred in words, separated by commas.")
    caller.wait_for(lambda: caller.state() == "speaking", what="sound")
    caller.page.get_by_role("tab", name="Chat").click()
    before = caller.figures()["playedMs"]
    caller.wait_for(lambda: caller.figures()["playedMs"] > before + 500, what="sound to go on")
    caller.page.get_by_role("tab", name="Talk").click()
    assert caller.state() == "speaking"


def test_dispatched_partial_transcripts_are_provisional(open_talk):
    caller = open_talk()
    caller.dispatch("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=0)
    caller.dispatch("parley.transcript", item_id="item_1", text="How to bees")
    caller.dispatch("parley.transcript", item_id="item_1", text="How do bees make")
    assert caller.said("user") == ["How do bees make"]
    row = caller.page.query_selector(".talk-user")
    assert row.get_attribute("aria-busy") == "true"
    style = "row => getComputedStyle(row.querySelector('.talk-words')).fontStyle"
    assert row.evaluate(style) == "italic"
    caller.shoot("talk-partial")
    caller.dispatch("input_audio_buffer.committed", item_id="item_1")
    completed = "conversation.item.input_audio_transcription.completed"
    caller.dispatch(completed, item_id="item_1", transcript="How do bees make honey?")
    caller.dispatch("parley.transcript", item_id="item_1", text="too late")
    assert caller.said("user") == ["How do bees make honey?"]
    assert row.get_attribute("aria-busy") == "false"
    assert row.evaluate(style) == "normal"
    # What turns out to be no turn leaves nothing behind.
    caller.dispatch("input_audio_buffer.speech_started", item_id="item_2", audio_start_ms=900)
    caller.dispatch("parley.transcript", item_id="item_2", text="Hm")
    assert len(caller.said("user")) == 2
    caller.dispatch("parley.state", state="listening")
    assert caller.said("user") == ["How do bees make honey?"]


def test_dispatched_timings_are_updated_in_place(open_talk):
    caller = open_talk()
    caller.dispatch("response.created", response={"id": "resp_1"})
    item = {"id": "item_1", "role": "assistant", "content": []}
    caller.dispatch("response.output_item.added", response_id="resp_1", item=item)
    marks = {"endpoint": 210, "transcript": 240, "first_token": 400, "first_sent": 560}
    caller.dispatch("parley.timings", response_id="resp_1", marks=marks)
    assert caller.waterfalls()[0].startswith("560 ms")
    caller.page.click(".talk-waterfall summary")
    marks |= {"first_played": 600, "last_sent": 2500}
    caller.dispatch("parley.timings", response_id="resp_1", marks=marks)
    assert caller.page.query_selector(".talk-waterfall[open]"), "it was folded"
    assert caller.page.evaluate("document.activeElement.matches('.talk-waterfall summary')")
    (shown,) = caller.waterfalls()
    assert shown.startswith("600 ms")
    assert "to your ears, 40 ms" in shown
    assert "1 turn" in caller.page.inner_text(".talk-figures")
