"""The voices tab in a real browser: a reference recorded, consented to, kept, matched, compared."""

import re
import time

import browser
import numpy as np
import pytest
from conftest import SAMPLES
from voice_clips import chords, part, person, spoken

from speech.files import read_clip
from speech.pcm import Audio, concatenate, silence

pytest_plugins = ["clone_fixtures"]
pytestmark = pytest.mark.browser

SHORT = "Good morning, everybody. The tea is ready."


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    """Writes a sound file for a microphone or an upload."""
    folder = tmp_path_factory.mktemp("clips")

    def wav(name, audio):
        path = folder / f"{name}.wav"
        browser.write_wav(path, audio)
        return path

    return wav


@pytest.fixture(scope="module")
def speaker():
    """Somebody who says what the page shows: the synthesizer, as a person in front of it."""
    return lambda *texts: concatenate([silence(0.3, 24_000), spoken(*texts), silence(0.3, 24_000)])


def speak(tab, text=SHORT):
    tab.page.fill("#voice-text textarea", text)
    tab.page.click("#voice-speak")


def test_from_a_recording_to_a_stored_voice_and_its_match(open_tab, wav, speaker, clone_services):
    tab = open_tab()
    tab.to_recording()
    said = (
        "A stranger came to the door at noon. Nobody knew him, and he asked for a glass of water."
    )
    tab.record("#voice-clip", wav("reference", speaker(said)))
    assert re.search(r"Used: \d", tab.report()) and "Speakers" in tab.text("#voice-report")
    assert "Matches, no clone" in tab.text("#voice-use")

    tab.unfold("#voice-keep")
    transcript = "#voice-transcript textarea"
    tab.wait_for(
        lambda: "stranger" in tab.page.input_value(transcript), what="the recognized transcript"
    )
    tab.page.fill("#voice-name input", "Anna {{1}} <b>")
    tab.page.click("#voice-ask")
    sentence = tab.wait_for_text("#voice-sentence", "I lend my voice").split("“")[1].split("”")[0]
    tab.page.wait_for_selector("#voice-reading button:has-text('Record')")

    tab.record("#voice-reading", wav("other words", part(person("two_cities"), 0, 6)))
    tab.page.click("#voice-store")
    tab.wait_for_text("#voice-outcome", "The words do not match")
    assert "Anna" not in tab.text("#voice-cards")

    tab.page.click("#voice-reading button[aria-label='Clear']")
    tab.record("#voice-reading", wav("sentence", speaker(sentence)))
    tab.page.click("#voice-store")
    tab.wait_for_text("#voice-outcome", "Stored as")
    tab.wait_for_text("#voice-cards", "Anna")
    stored = next(v for v in clone_services.voices.library.voices() if v.name.startswith("Anna"))
    assert stored.record.origin == "recording" and "stranger" in stored.record.transcript
    assert stored.record.consent is not None and "anonymous" in stored.record.consent_note
    # What people type is shown as it is.
    assert "Anna {{1}} <b>" in tab.text("#voice-cards")

    tab.page.click("[data-action=use][data-name^=Anna]")
    speak(tab)
    tab.wait_for_text("#voice-status", "Learning the voice")
    tab.wait_for(lambda: tab.streamed() > 0.3, what="the stream to advance")
    tab.wait_for_result()
    assert "Similarity to the reference" in tab.text("#voice-findings")
    assert tab.page.is_enabled("#voice-speak") and not tab.page.is_enabled("#voice-stop")
    tab.shoot("voices-result")


@pytest.fixture
def matched(open_tab):
    """The tab with a comparison in the voice of Clara."""
    tab = open_tab()
    tab.press("Clara", "use")
    speak(tab)
    tab.wait_for_result()
    return tab


def test_players_switch_at_one_place_and_the_file_says_what_it_is(matched, tmp_path):
    tab = matched
    switch = "#voice-compare [data-switch='{}']"
    tab.page.click(switch.format(2))
    tab.wait_for(lambda: tab.playing() and tab.playing()[0][1] > 0.4, what="the result to play")
    ((name, before),) = tab.playing()
    assert name == "Result"
    tab.page.click(switch.format(1))
    tab.wait_for(lambda: tab.playing() and tab.playing()[0][0] == "Own voice", what="a switch")
    ((_, after),) = tab.playing()
    assert after >= before, "it began again"
    assert tab.page.get_attribute(switch.format(1), "aria-pressed") == "true"
    assert tab.page.get_attribute(switch.format(2), "aria-pressed") == "false"

    with tab.page.expect_download() as download:
        tab.page.click("#voice-download")
    result = tmp_path / "result.wav"
    download.value.save_as(result)
    tab.unfold("#voice-detector")
    tab.page.set_input_files("#voice-suspect input[type=file]", result)
    tab.wait_for_text("#voice-answer", "Synthetic speech.*moved towards the recording 'Clara'")
    assert "watermark" in tab.text("#voice-answer")
    tab.page.click(
        "#voice-suspect button[aria-label='Clear'], #voice-suspect [aria-label*='emove']"
    )
    tab.page.set_input_files("#voice-suspect input[type=file]", SAMPLES / "sky.wav")
    tab.wait_for_text("#voice-answer", "does not say that Parley made it")


def test_the_assistant_answers_in_the_voice(open_tab):
    tab = open_tab()
    tab.press("Clara", "use")
    tab.choose("#voice-task", "Ask the assistant")
    tab.page.fill("#voice-question textarea, #voice-question input", "What is two plus two?")
    tab.page.click("#voice-speak")
    tab.wait_for_result()
    assert re.search("four|4", tab.text("#voice-status"))


def test_learning_can_be_stopped(open_tab, clone_services):
    tab = open_tab()
    tab.press("Milo", "use")
    speak(tab)
    tab.wait_for_text("#voice-status", "Learning the voice of 'Milo'")
    tab.page.keyboard.press("Escape")
    tab.wait_for_text("#voice-status", "Stopped")
    tab.wait_for(lambda: tab.page.is_enabled("#voice-speak"), what="Speak")
    assert not tab.page.query_selector("#voice-compare audio")


def test_closing_the_page_stops_the_work(open_tab, clone_services):
    tab = open_tab()
    tab.press("Clara", "use")
    speak(tab, "One more sentence, and then another one. " * 200)
    tab.wait_for(lambda: clone_services.turnstile.active == 1, what="work")
    tab.context.close()
    deadline = time.monotonic() + 20
    while clone_services.turnstile.active and time.monotonic() < deadline:
        time.sleep(0.1)
    assert clone_services.turnstile.active == 0


def test_bad_references_each_get_their_message(open_tab, wav, tmp_path):
    tab = open_tab()
    tab.to_recording()
    story = read_clip(SAMPLES / "story.wav", 24_000).audio
    other = person("two_cities", 0, 20)
    two = concatenate([part(story, 0, 11), other])
    text = tmp_path / "text.wav"
    text.write_text("This is not a sound. " * 50)
    cases = [
        (wav("silence", silence(5, 24_000)), "silent"),
        (wav("music", chords(6)), "No speech was found"),
        (wav("half a second", part(story, 1, 1.5)), "only .* of speech|No speech|too short|0.5 s"),
        (wav("two speakers", two), "More than one voice|second voice"),
        (text, "not a sound file"),
    ]
    for path, message in cases:
        report = tab.upload(path)
        assert re.search(message, report), (path.name, report)
        if "second voice" not in report:
            assert not tab.page.is_enabled("#voice-speak"), path.name
            assert not tab.page.is_visible("#voice-keep"), path.name
    # The browser's decoder cannot draw a waveform of the text, and says so on the console.
    tab.complaints.clear()
    report = tab.upload(wav("good", other))
    assert "Used:" in report and "second voice" not in report
    tab.wait_for(lambda: tab.page.is_enabled("#voice-speak"), what="Speak")
    assert tab.page.is_visible("#voice-keep")


def test_ten_minutes_are_looked_at_and_a_part_is_used(open_tab, wav):
    tab = open_tab()
    tab.to_recording()
    other = person("two_cities", 0, 40)
    long = Audio(np.tile(other.samples, 16), other.rate)
    report = tab.upload(wav("long", long))
    assert "Only its first 10 min were looked at" in report
    assert re.search(r"of 10 min 40 s", report)


def test_the_scissors_trim_what_is_used(open_tab, wav):
    tab = open_tab()
    tab.to_recording()
    whole = re.search(
        r"Used: .* of ([\d.]+) s", tab.upload(wav("long", person("two_cities", 0, 24)))
    )
    assert whole is not None
    tab.page.click("#voice-clip button[aria-label='Trim audio to selection']")
    handle = tab.page.wait_for_selector("#voice-clip [part~=region-handle-right]").bounding_box()
    at = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    tab.page.mouse.move(*at)
    tab.page.mouse.down()
    tab.page.mouse.move(at[0] + 40, at[1], steps=5)
    tab.page.mouse.up()
    tab.page.click("#voice-clip button:text-is('Trim')")

    def trimmed():
        used = re.search(r"Used: .* of ([\d.]+) s", tab.text("#voice-report"))
        return used and float(used[1]) < float(whole[1]) / 2 + 3

    tab.wait_for(trimmed, what="the report on what is left")


def test_sessions_do_not_see_each_others_recordings(open_tab, wav):
    one, two = open_tab(), open_tab()
    one.to_recording()
    one.upload(wav("mine", person("two_cities", 0, 12)))
    two.to_recording()
    assert "Used:" in one.text("#voice-report")
    assert "Used:" not in two.text("#voice-report")
    two.wait_for(lambda: not two.page.is_enabled("#voice-speak"), what="nothing to speak from")


def test_library_rename_export_delete_import(open_tab, clone_services, tmp_path):
    library = clone_services.voices.library
    library.add("Olga", part(spoken(SHORT, SHORT), 0, 4), origin="synthetic", description="dry")
    tab = open_tab()
    assert not tab.page.is_enabled(f"{tab.card('Clara')} [data-action=delete]")
    assert not tab.page.is_enabled(f"{tab.card('Clara')} [data-action=rename]")

    tab.press("Olga", "rename")
    tab.page.fill("#voice-rename input", "Clara")
    tab.page.click("#voice-rename button")
    tab.wait_for_text("#voice-library-outcome", "There is a voice 'Clara' already")
    tab.page.fill("#voice-rename input", "Helga")
    tab.page.click("#voice-rename button")
    tab.wait_for_text("#voice-cards", "Helga")

    tab.page.check(f"{tab.card('Helga')} input")
    tab.page.check(f"{tab.card('Clara')} input")
    tab.page.click(".voice-button:has-text('Export the ticked voices')")
    tab.page.wait_for_selector("#voice-export")
    with tab.page.expect_download() as download:
        tab.page.click("#voice-export")
    exported = tmp_path / download.value.suggested_filename
    download.value.save_as(exported)

    tab.press("Helga", "delete")
    tab.wait_for_text("#voice-delete", "Delete Helga?")
    assert "Helga" in [voice.name for voice in library.voices()], "it did not ask"
    tab.page.click("#voice-delete button:has-text('for good')")
    tab.wait_for(lambda: "Helga" not in tab.text("#voice-cards"), what="the card to go")
    assert "Helga" not in [voice.name for voice in library.voices()]

    tab.give("#voice-import", exported)
    tab.wait_for_text("#voice-library-outcome", "Imported: .*'Helga'")
    tab.wait_for_text("#voice-cards", "Helga")
    broken = tmp_path / "broken.parleyvoices"
    broken.write_bytes(exported.read_bytes()[:2000])
    tab.give("#voice-import", broken)
    tab.wait_for_text("#voice-library-outcome", "no export of voices")
    for voice in library.voices():
        if not voice.shipped:
            library.delete(voice.name)


def test_batch_makes_resumes_and_names_lines(open_tab, tmp_path):
    tab = open_tab()
    tab.unfold("#voice-batch")
    bad = tmp_path / "bad.csv"
    bad.write_text("text,voice,seed\nHello.,,\nHello.,,minus\n")
    tab.page.set_input_files("#voice-jobs input[type=file]", bad)
    tab.page.wait_for_selector("#voice-jobs :text('bad.csv')")
    tab.page.click("#voice-batch-start")
    tab.wait_for_text("#voice-batch-progress", "Line 3")
    tab.page.click("#voice-jobs [aria-label='Clear'], #voice-jobs [aria-label*='emove']")

    good = tmp_path / "good.jsonl"
    good.write_text('{"text": "Good morning."}\n{"text": "Hello.", "voice": "nobody"}\n')
    tab.page.set_input_files("#voice-jobs input[type=file]", good)
    tab.page.wait_for_selector("#voice-jobs :text('good')")
    tab.page.click("#voice-batch-start")
    told = tab.wait_for_text("#voice-batch-progress", "2 of 2: 1 made, 1 failed")
    assert "Line 2: There is no voice 'nobody'" in told
    with tab.page.expect_download() as download:
        tab.page.click("#voice-batch-download")
    assert download.value.suggested_filename == "parley-batch.zip"
    tab.wait_for(lambda: tab.page.is_enabled("#voice-batch-start"), what="the end")
    tab.page.click("#voice-batch-start")
    tab.wait_for_text("#voice-batch-progress", "1 kept from before, 1 failed")


def test_dark_and_narrow(open_tab):
    narrow = open_tab(size=(390, 844), dark=True)
    narrow.press("Clara", "use")
    speak(narrow)
    narrow.wait_for_result()
    browser.SHOTS.mkdir(parents=True, exist_ok=True)
    wide = narrow.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, f"the page is {wide} px wide"
    narrow.page.screenshot(path=browser.SHOTS / "voices-narrow-dark.png", full_page=True)
