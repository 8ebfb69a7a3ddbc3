"""What can be set in the talk tab: told to the server, refused by it, kept for the next visit."""

import browser
import pytest
from between import EMBEDDED, SEER

pytest_plugins = ["talk_fixtures"]
pytestmark = pytest.mark.browser


def control(name):
    return f"[data-setting={name}]"


def value(caller, name):
    return caller.page.input_value(control(name))


def set_text(caller, name, text):
    caller.page.fill(control(name), text)
    caller.page.dispatch_event(control(name), "change")


def catch_messages(caller):
    """Keep what the client would send, without a line."""
    caller.page.evaluate(
        """view => {
          view.sent = [];
          view.client.send = (type, fields) => view.sent.push({ type, ...fields });
        }""",
        caller.view(),
    )


def caught(caller):
    return caller.page.evaluate("view => view.sent.splice(0)", caller.view())


def refuse(caller, name, message):
    error = {"code": "invalid_value", "message": message, "event_id": f"setting.{name}"}
    caller.dispatch("error", error=error)


def test_settings_reach_the_server_after_its_greeting_and_survive(open_talk):
    caller = open_talk()
    set_text(caller, "instructions", "You are a lighthouse keeper.")
    caller.page.select_option(control("patience"), "silence")
    set_text(caller, "silence_ms", "700")
    caller.page.click(".talk-finer > summary")
    caller.page.select_option(control("vad"), "webrtc")
    finer = {"threshold": 0.6, "min_speech_ms": 200, "padding_ms": 400, "temperature": 0.2}
    for name, wish in (finer | {"max_tokens": 64}).items():
        set_text(caller, name, str(wish))
    caller.type("Hello.")
    caller.wait_for(caller.waterfalls, what="the reply")
    assert caller.frames[0][1]["type"] == "session.created", "something was sent too early"

    def session():
        return caller.received("session.updated")[-1]["session"]

    assert session()["instructions"] == "You are a lighthouse keeper."
    detection = session()["audio"]["input"]["turn_detection"]
    assert detection["type"] == "server_vad"
    assert detection["silence_duration_ms"] == 700
    assert session()["max_output_tokens"] == 64
    configured = caller.received("parley.configured")[-1]
    assert finer.items() <= configured.items() and configured["vad"] == "webrtc"
    caller.page.select_option(control("patience"), "low")
    caller.wait_for(
        lambda: session()["audio"]["input"]["turn_detection"]["type"] == "semantic_vad",
        what="the answer",
    )
    update = caller.sent("session.update")[-1]["session"]["audio"]["input"]
    assert update == {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}
    # A new line is told again, and so is the next visit.
    caller.frames.clear()
    caller.page.evaluate("view => view.client.line.socket.close(4000)", caller.view())
    caller.wait_for(lambda: len(caller.received("session.updated")) >= 2, what="the new line")
    assert session()["instructions"] == "You are a lighthouse keeper."
    caller.page.reload()
    caller.page.wait_for_function("document.querySelector('#talk .talk')?.view !== undefined")
    assert value(caller, "instructions") == "You are a lighthouse keeper."
    assert value(caller, "patience") == "low"


def test_what_the_server_refuses_goes_back(open_talk):
    caller = open_talk()
    caller.page.evaluate(
        "localStorage.setItem('parley.settings', JSON.stringify({ history_limit: 5000 }))"
    )
    caller.page.reload()
    caller.page.wait_for_function("document.querySelector('#talk .talk')?.view !== undefined")
    caller.keep_notes()
    caller.type("Hello.")
    caller.wait_for(lambda: any("history_limit" in note for note in caller.notes()), what="refusal")
    kept = caller.page.evaluate("localStorage.getItem('parley.settings')")
    assert "5000" not in kept


def test_the_engine_of_the_header_answers(talk_chromium, seeing_url):
    caller = browser.Caller(talk_chromium, seeing_url)
    able = ".talk-able"
    # Shown before anybody has said a word, and so are the voices.
    caller.wait_for(lambda: "cannot see" in caller.page.inner_text(able), what="the engine")
    assert value(caller, "voice") == "heart"
    browser.choose_engine(caller.page, "Seer")
    caller.wait_for(lambda: "; sees;" in caller.page.inner_text(able), what="the other engine")
    caller.type("What do you see?")
    caller.wait_for(lambda: "Seer: I see 0" in "".join(caller.said("assistant")), what="its answer")
    browser.choose_engine(caller.page, "Mole")
    caller.wait_for(lambda: value(caller, "voice") == "gruff", what="the third engine's voice")
    caller.type("And you?")
    caller.wait_for(lambda: "Mole: I see 0" in "".join(caller.said("assistant")), what="its answer")
    assert not caller.complaints
    caller.close()


def test_dispatched_engines_can_be_chosen(open_talk):
    caller = open_talk()
    catch_messages(caller)
    caller.dispatch("parley.engine", **EMBEDDED)
    assert caller.page.inner_text(".talk-able") == (
        "Hears most languages; speaks English; cannot see; keeps to its own voices."
    )
    assert not caller.page.is_visible(control("images_in_history"))
    caller.choose_engine("seer")
    (update,) = caught(caller)
    assert update["session"] == {"type": "realtime", "model": "seer"}
    caller.dispatch("parley.engine", **SEER)
    assert "speaks English and Chinese; sees; clones voices" in caller.page.inner_text(".talk-able")
    assert caller.page.is_visible(control("images_in_history"))
    caller.page.check(control("images_in_history"))
    (update,) = caught(caller)
    assert (update["type"], update["images_in_history"]) == ("parley.configure", True)
    caller.page.select_option(control("voice"), "bob")
    assert caught(caller)[0]["session"]["audio"] == {"output": {"voice": "bob"}}
    caller.shoot("talk-settings")
    # A new session begins with the server's own engine: the wish holds until it is told.
    caller.dispatch("parley.engine", **EMBEDDED)
    caller.dispatch("parley.engine", **SEER)
    assert value(caller, "voice") == "bob"
    # Chosen otherwise, the engine has other voices.
    caller.choose_engine("embedded")
    caller.dispatch("parley.engine", **EMBEDDED)
    assert value(caller, "voice") == "heart"


def test_dispatched_refusals_show_the_servers_value(open_talk):
    caller = open_talk()
    catch_messages(caller)
    caller.dispatch("parley.engine", **EMBEDDED)
    caller.choose_engine("seer")
    refuse(caller, "model", "Seer needs a GPU.")
    assert caller.note() == "Seer needs a GPU."
    chosen = "view => view.settings.value('model')"
    assert caller.page.evaluate(chosen, caller.view()) == "embedded"
    caller.dispatch("parley.configured", interrupt_after_ms=300, history_limit=12)
    assert value(caller, "interrupt_after_ms") == "300"
    assert caller.page.inner_text(".talk-slid") == "300 ms"
    caught(caller)
    set_text(caller, "history_limit", "5000")
    assert caught(caller)[0]["history_limit"] == 5000
    refuse(caller, "history_limit", "history_limit is at most 200.")
    assert value(caller, "history_limit") == "12"
    caller.page.focus(control("interrupt_after_ms"))
    caller.page.keyboard.press("ArrowRight")
    assert caught(caller)[0]["interrupt_after_ms"] == 310
    assert caller.page.inner_text(".talk-slid") == "310 ms"
    caller.page.select_option(control("patience"), "silence")
    assert caller.page.is_visible(control("silence_ms"))
    caught(caller)
    refuse(caller, "patience", "There is no such patience.")
    assert value(caller, "patience") == "medium"
    again = caught(caller)[0]["session"]["audio"]["input"]["turn_detection"]
    assert again == {"type": "semantic_vad", "eagerness": "medium"}
    # What is being written is left alone, but not what was refused.
    caller.page.fill(control("instructions"), "You are")
    caller.dispatch("session.updated", session={"instructions": "Somebody else."})
    assert value(caller, "instructions") == "You are"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_fits_on_a_phone(open_talk, dark):
    caller = open_talk(size=(390, 844), dark=dark)
    caller.page.click(".talk-side > summary")
    caller.page.select_option(control("patience"), "silence")
    caller.dispatch("parley.engine", **SEER)
    caller.page.click(".talk-able")
    caller.page.click(".talk-finer > summary")
    wide = caller.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, f"the page is {wide} px wide"
    parts = ".talk button, .talk :is(input, select, textarea, output, p, label, dd)"
    for part in caller.page.query_selector_all(parts):
        box = part.bounding_box()
        if box and box["width"]:
            assert box["x"] >= 0, f"{part.inner_text()} is clipped"
            assert box["x"] + box["width"] <= 390, f"{part.inner_text()} is clipped"
    caller.page.focus(control("voice"))
    caller.shoot(f"talk-settings-{'dark' if dark else 'light'}", part=".talk-side")
