"""What the voices tab is made of, without a browser."""

import base64
import io
import os
import re
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from voice_clips import spoken

from demos import clone, plots
from demos.clone_batch import ANONYMOUS, Batches
from demos.clone_compare import similarity_bar
from demos.clone_given import Given, checked, chosen
from demos.clone_keep import Keeping
from demos.clone_library import Shelf
from demos.clone_making import Wanted, make
from demos.clone_words import USES, notice, shown, use
from demos.problems import UNEXPECTED, told
from engines.base import Cancel
from engines.messages import Notice
from errors import InputError
from services import Services
from settings import Settings
from speech.pcm import Audio
from speech.speaker import OTHER_SPEAKER, SAME_SPEAKER
from voices.marks import read_mark

RATE = 24_000
SENTENCE = "Good morning, everybody. The tea is ready, and so is the bread."


def request(session="anna", username=None):
    return SimpleNamespace(session_hash=session, username=username)


def tone(hertz, seconds=1.0):
    """A buzz with the pitch of a voice."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 20))
    return Audio((0.2 * wave).astype(np.float32), RATE)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Services with a library of their own."""
    data = tmp_path_factory.mktemp("data")
    known = Settings(_env_file=None, port=0, warm=False, idle_unload=0, temperature=0)
    (data / "weights").symlink_to(known.data / "weights")
    with Services(known.model_copy(update={"data": data})) as services:
        yield services


@pytest.fixture(scope="module")
def given(desk, tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "voice.wav"
    import browser  # noqa: PLC0415

    browser.write_wav(path, spoken(SENTENCE, SENTENCE))
    return checked(desk, str(path), "recording", Cancel())


def test_spectrogram_shows_a_tone_at_its_height():
    time = np.arange(RATE) / RATE
    audio = Audio((0.5 * np.sin(2 * np.pi * 2000 * time)).astype(np.float32), RATE)
    figure = plots.spectrogram(audio, "Result")
    data = base64.b64decode(re.search(r"base64,([^\"]+)", figure)[1])
    opacity = np.asarray(Image.open(io.BytesIO(data)))[..., 3]
    row = opacity.mean(axis=1).argmax()
    hertz = plots.TOP * (1 - (row + 0.5) / len(opacity))
    assert abs(hertz - 2000) < 60
    assert "Spectrogram of result: 0 to 8 kHz over 1.0 s" in figure


def test_pitch_contours_tell_the_medians_and_draw_higher_voices_higher():
    figure = plots.pitch_contours({"Reference": tone(110), "Result": tone(220)})
    medians = [float(found) for found in re.findall(r"Re\w+: median (\d+) Hz", figure)]
    assert medians[:2] == pytest.approx([110, 220], abs=3)
    heights = [
        float(re.search(rf'voice-line-{number}" points="[\d.]+,([\d.]+)', figure)[1])
        for number in (0, 1)
    ]
    assert heights[1] < heights[0]


@pytest.mark.parametrize("samples", [0, 10, 3000])
def test_plots_take_what_is_very_short_or_silent(samples):
    audio = Audio(np.zeros(samples, np.float32), RATE)
    plots.spectrogram(audio, "Result")
    assert "no voiced sound" in plots.pitch_contours({"Result": audio})


def test_similarity_bar_says_what_the_number_means():
    other, same = similarity_bar(0.4, 0.5), similarity_bar(0.4, 0.9)
    assert "different people" in other and "same person" in same
    assert "nearer" in similarity_bar(0.9, 0.8) and "nearer" not in same
    assert "left:40.0%" in same and "left:90.0%" in same
    assert f"{SAME_SPEAKER:.2f}" in same and f"{OTHER_SPEAKER:.2f}" in same


def test_texts_of_people_are_neither_html_nor_templates():
    assert shown("<b>{{x}}") == "&lt;b&gt;&#123;&#123;x&#125;&#125;"
    assert "<b>" not in notice("<b>")


def test_match_and_prompt_are_called_no_clone(desk):
    assert "no clone" in use(desk.engine().info)
    assert "no clone" in USES["prompt"] and "no clone" not in USES["clone"]


def test_bugs_are_told_in_general_words_and_logged(caplog):
    assert told(InputError("Too short.")) == "Too short."
    assert told(KeyError("secret")) == UNEXPECTED
    assert "secret" in caplog.text


def test_nothing_to_speak_in(desk):
    with pytest.raises(InputError, match="Record or upload"):
        chosen(desk, "recording", "Clara", None)
    with pytest.raises(InputError, match="No voice is chosen"):
        chosen(desk, "library", None, None)
    assert chosen(desk, "library", "Clara", None).name == "Clara"


def test_a_check_gives_the_part_that_is_used(given):
    assert isinstance(given, Given) and "Used:" in given.report
    assert 3 <= given.reference.audio.seconds <= 15


def test_speech_is_marked_learned_and_compared(desk, given):
    files: set[str] = set()
    wanted = Wanted(SENTENCE, False, 7, "embedded")
    views = list(make(desk, wanted, given.reference, files, Cancel()))
    sounds = [view.sound for view in views if view.sound]
    # The browser plays a piece when the next is there.
    assert len(sounds) >= 2 and all(sound[1].dtype == np.int16 for sound in sounds)
    result = next(view.file for view in views if view.file)
    made = read_mark(result)
    assert made.use == "match" and made.engine == "embedded"
    assert {Path(file).name for file in files} >= {"parley.wav", "own-voice.wav"}
    assert "seed 7" in views[-1].status and "Similarity" in views[-1].findings


def test_what_should_be_known_of_speech_is_told(desk, given, monkeypatch):
    speak = desk.speak

    def with_a_notice(*given, **options):
        yield Notice("Another server answers instead.")
        yield from speak(*given, **options)

    monkeypatch.setattr(desk, "speak", with_a_notice)
    wanted = Wanted(SENTENCE, False, 7, "embedded")
    views = list(make(desk, wanted, given.reference, set(), Cancel()))
    while_speaking = next(view for view in views if view.sound)
    for view in (while_speaking, views[-1]):
        assert view.status.count("Another server answers instead.") == 1


def test_speech_that_is_stopped_says_so(desk, given):
    cancel = Cancel()
    views = make(desk, Wanted(SENTENCE * 20, False, 7, "embedded"), given.reference, set(), cancel)
    for view in views:
        if view.sound:
            cancel.set()
    assert "Stopped." in view.status and view.players is None


@pytest.mark.parametrize(("text", "message"), [("", "no text yet"), ("x" * 100_001, "characters")])
def test_texts_that_cannot_be_said(desk, given, text, message):
    (view,) = make(desk, Wanted(text, False, None, "embedded"), given.reference, set(), Cancel())
    assert message in view.status


def test_a_voice_is_not_stored_without_a_sentence(desk, given):
    keeping = Keeping(desk)
    told = list(keeping.store(given, "Eve", "", "", ("", ""), None, None, None, request()))
    assert "Show the sentence" in told[-1][0]
    sentence, challenge, *_ = keeping.ask(given, request())
    assert "I lend my voice" in sentence
    told = list(keeping.store(given, "Eve", "", "", ("", ""), challenge, None, None, request()))
    assert "not recorded yet" in told[-1][0]
    assert "Eve" not in [voice.name for voice in desk.voices.library.voices()]


def test_with_logins_only_the_owner_has_the_buttons(desk):
    desk.voices.library.add("Olga", spoken(SENTENCE), origin="synthetic", owner="olga")
    try:
        shelf = Shelf(desk, set())
        mine, theirs = (shelf.show(request(username=name)) for name in ("olga", "eve"))
        pattern = r'data-action="delete" data-name="Olga"[^>]*disabled'
        assert not re.search(pattern, mine) and re.search(pattern, theirs)
        _, told = shelf.delete("Olga", request(username="eve"))
        assert "only they can" in told
    finally:
        desk.voices.library.delete("Olga", by="olga")


def test_batches_of_logins_and_sessions_lie_apart_and_old_ones_go(desk):
    batches = Batches(desk, set())
    anna = batches._own_folder(request("../../x"))
    assert anna.parent == desk.settings.data / "batches" and ANONYMOUS in anna.name
    assert anna != batches._own_folder(request("other"))
    login = batches._own_folder(request("other", "olga"))
    assert login == batches._own_folder(request("another", "olga"))
    for folder in (anna, login):
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    batches.tidy()
    assert not anna.exists() and login.exists()


def test_without_the_gate_the_page_says_so_and_stores(desk, given, tmp_path):
    settings = desk.settings.model_copy(update={"data": tmp_path, "voice_consent": False})
    with Services(settings) as services:
        with gr.Blocks() as page:
            engine = gr.Dropdown(["embedded"], value="embedded")
            with gr.Tab("Voices") as tab:
                clone.build(services, engine, page, tab)
        lines = [str(part.value) for part in page.blocks.values() if isinstance(part, gr.HTML)]
        assert any("consent check is off" in line for line in lines)
        told = list(
            Keeping(services).store(given, "Eve", "", "", ("", ""), None, None, None, request())
        )
        assert "Stored as" in told[-1][0]
        (note,) = [
            v.record.consent_note for v in services.voices.library.voices() if v.name == "Eve"
        ]
        assert "No consent is recorded" in note
