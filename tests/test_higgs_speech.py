"""Higgs Audio speaking: the sound of a one-shot decode, voices, dialogues, bad input."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from higgs_checkpoint import folders, published_processor

from engines.base import Cancel, Reference
from engines.higgs import codec as codecs
from engines.higgs import model as models
from engines.higgs.stream import BLOCKS
from engines.higgs.synthesizer import CAPACITY, DRAWING, LONGEST, Higgs
from engines.higgs.voices import lines
from engines.native.sampling import Drawing
from errors import CancelledError, EngineError, InputError
from model_spec import LoadReport
from speech.files import read_clip
from speech.pcm import Audio

TEXT = "This is the first sentence."
HOP = 960


@pytest.fixture(scope="module")
def higgs():
    model = models.load(folders()[0], "cpu", torch.float32, LoadReport())
    higgs = Higgs(model, codecs.load(folders()[1], "cpu"))
    yield higgs
    higgs.close()


@contextmanager
def reply(higgs, voice="feminine", *, style="", seed=0, cancel=None):
    random = np.random.default_rng(seed)
    with higgs.begin(voice, style=style, random=random, cancel=cancel or Cancel()) as begun:
        yield begun


def spoken(higgs, text=TEXT, voice="feminine", **options):
    with reply(higgs, voice, **options) as begun:
        return np.concatenate([audio.samples for audio in begun.speak(text)])


@pytest.fixture
def prompts(higgs, monkeypatch):
    """What the model was given to read: scene, what was said, text."""
    seen = []
    write = higgs.model.prompter.prompt

    def prompt(scene, said, text):
        seen.append((scene, [utterance.text for utterance in said], text))
        return write(scene, said, text)

    monkeypatch.setattr(higgs.model.prompter, "prompt", prompt)
    return seen


@pytest.fixture(scope="module")
def recording(question):
    return question


# The sound


def one_shot(higgs, prompt, seed):
    """The columns that transformers' `generate` draws from the same random numbers."""
    ids = torch.from_numpy(prompt.ids)[None]
    audio = {}
    if len(prompt.columns):
        audio["audio_input_ids"] = torch.from_numpy(prompt.columns)[None]
        audio["audio_input_ids_mask"] = torch.ones(1, len(prompt.columns), dtype=torch.bool)
    network = higgs.model.network
    network.generation_config.ras_win_len = 7
    network.generation_config.ras_win_max_num_repeat = 2
    state = torch.get_rng_state()
    torch.manual_seed(int(np.random.default_rng(seed).integers(2**62)))
    try:
        return network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=1000,
            do_sample=True,
            temperature=DRAWING.temperature,
            top_k=DRAWING.top_k,
            top_p=DRAWING.top_p,
            **audio,
        )
    finally:
        torch.set_rng_state(state)


@pytest.mark.parametrize("cloning", [False, True], ids=["own voice", "clone"])
def test_a_streamed_reply_is_the_one_shot_decode(higgs, prompts, recording, cloning):
    """What `generate` draws, and what the processor's `batch_decode` makes of it in one go."""
    processor = published_processor(*folders())
    voice = Reference("me", recording, "Why is the sky blue?") if cloning else "masculine"
    whole = 0
    for seed in range(8):
        prompts.clear()
        sound = spoken(higgs, voice=voice, seed=seed)
        prompt = higgs.model.prompter.prompt(*prompts[0])
        out = one_shot(higgs, prompt, seed)
        columns = out[0, len(prompt.columns) + 1 :]
        frames = processor.revert_delay_pattern(columns)
        frames = frames[(frames < 1024).all(dim=1)]
        assert len(sound) == len(frames) * HOP
        with torch.no_grad():
            decoded = processor.audio_tokenizer.decode(frames.T[None]).audio_values[0, 0].numpy()
        assert np.abs(sound - decoded).max() < 1e-4
        # The last codebook's code before the last column is free, and in this model no end: they
        # decode a frame of that ramp, with special codes taken for code 1023. Nor do they leave
        # out a garbled frame in the middle.
        assert len(processor.batch_decode(out)[0]) > len(sound)
        out[0, -2, 7] = 1025
        theirs = processor.batch_decode(out)[0].numpy()
        if len(theirs) == len(sound):
            assert np.abs(sound - theirs).max() < 1e-4
            whole += 1
    assert whole > 1, "too few replies were without a garbled frame"


def test_it_comes_in_pieces_that_are_whole_frames(higgs):
    longest = []
    for seed in range(6):
        with reply(higgs, seed=seed) as begun:
            longest = max(longest, list(begun.speak(TEXT)), key=len)
    assert all(piece.rate == 24_000 and len(piece) % HOP == 0 for piece in longest)
    # The first sound waits for a small block and what reaches into it, no longer.
    assert [len(piece) // HOP for piece in longest[:2]] == list(BLOCKS[:2])


def test_codes_with_no_sound_never_reach_the_codec(higgs, monkeypatch):
    """Drawn as hot as can be, every tenth column holds a special code or ends."""
    seen = []
    decode = higgs.codec.decode

    def watched(codes):
        seen.append(codes)
        return decode(codes)

    monkeypatch.setattr(higgs.codec, "decode", watched)
    monkeypatch.setattr(higgs, "drawing", Drawing(temperature=50.0))
    for seed in range(6):
        with reply(higgs, seed=seed) as begun:
            try:
                list(begun.speak(TEXT))
            except EngineError:
                continue
    assert seen
    assert all(codes.min() >= 0 and codes.max() < 1024 for codes in seen)


# One request among many


def test_many_replies_at_once_sound_as_they_do_alone(higgs):
    count = CAPACITY + 3
    texts = [f"This is sentence number {number}." for number in range(count)]
    alone = [spoken(higgs, text, seed=seed) for seed, text in enumerate(texts)]
    together = {}

    def run(seed):
        together[seed] = spoken(higgs, texts[seed], seed=seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(alone[seed], together[seed]) for seed in range(count))


def test_a_seed_fixes_the_reply(higgs):
    assert np.array_equal(spoken(higgs, seed=3), spoken(higgs, seed=3))
    assert not np.array_equal(spoken(higgs, seed=3), spoken(higgs, seed=4))


def test_a_cancel_stops_a_reply_and_frees_its_place(higgs):
    cancel = Cancel()
    with pytest.raises(CancelledError), reply(higgs, cancel=cancel) as begun:
        for _ in begun.speak("A sentence that would go on for quite a while. " * 5):
            cancel.set()
    assert higgs.steps.active == 0


def test_leaving_a_sentence_frees_its_place_and_the_next_can_be_spoken(higgs):
    with reply(higgs) as begun:
        pieces = begun.speak("A sentence that would go on for quite a while. " * 5)
        next(pieces)
        pieces.close()
        assert higgs.steps.active == 0
        assert list(begun.speak(TEXT))


# The voice stays


def test_what_was_said_is_read_again(higgs, prompts):
    with reply(higgs, "free") as begun:
        for text in ("One.", "Two.", "Three.", "Four.", "Five."):
            list(begun.speak(text))
    said = [before for _, before, _ in prompts]
    assert said[:3] == [[], ["One."], ["One.", "Two."]]
    # Who has no reference keeps to the first sentence; the last ones carry the manner on.
    assert said[4] == ["One.", "Three.", "Four."]


def test_a_reference_is_read_before_what_was_said(higgs, prompts, recording):
    with reply(higgs, Reference("me", recording, "Why is the sky blue?")) as begun:
        for text in ("One.", "Two.", "Three.", "Four."):
            list(begun.speak(text))
    scenes, said, texts = zip(*prompts, strict=True)
    assert all([u.text for u in scene.before] == ["Why is the sky blue?"] for scene in scenes)
    assert said[3] == ["Two.", "Three."]
    assert texts == ("One.", "Two.", "Three.", "Four.")


def test_a_sentence_that_failed_is_not_read_again(higgs, prompts, monkeypatch):
    import engines.higgs.synthesizer as module  # noqa: PLC0415

    with reply(higgs, "free") as begun:
        list(begun.speak("One."))
        with monkeypatch.context() as patch:
            patch.setattr(module, "_FRAMES", 2)
            patch.setattr(module, "_FRAMES_PER_BYTE", 0)
            with pytest.raises(EngineError, match="no sound"):
                list(begun.speak("Two."))
            patch.setattr(module, "_FRAMES", 11)
            with pytest.raises(EngineError, match="did not come to an end"):
                list(begun.speak("Three, which goes on."))
        list(begun.speak("Four."))
    assert prompts[-1][1] == ["One."]


def test_a_style_is_part_of_the_scene(higgs, prompts):
    spoken(higgs, style="The speaker whispers.")
    assert prompts[0][0].room.endswith(" The speaker whispers.")


# Dialogues


@pytest.mark.parametrize(
    "text",
    [
        "[SPEAKER0] Hello. [SPEAKER1] Who is it? [SPEAKER0] Me.",
        "SPEAKER0 Hello. SPEAKER1 Who is it? SPEAKER0 Me.",
        "SPEAKER0: Hello. SPEAKER1: Who is it? SPEAKER0: Me.",
    ],
)
def test_a_dialogue_is_spoken_line_by_line(higgs, prompts, text):
    spoken(higgs, text)
    assert [text for _, _, text in prompts] == [
        "[SPEAKER0] Hello.",
        "[SPEAKER1] Who is it?",
        "[SPEAKER0] Me.",
    ]
    scene = prompts[-1][0]
    assert [(part.tag, part.words) for part in scene.parts] == [
        ("SPEAKER0", "feminine"),
        ("SPEAKER1", "masculine"),
    ]
    assert prompts[-1][1] == ["[SPEAKER0] Hello.", "[SPEAKER1] Who is it?"]


def test_a_speaker_goes_on_over_sentences(higgs, prompts):
    with reply(higgs, "masculine") as begun:
        for clause in ("SPEAKER1 One.", "Two.", "SPEAKER0 Three."):
            list(begun.speak(clause))
    assert [text for _, _, text in prompts] == [
        "[SPEAKER1] One.",
        "[SPEAKER1] Two.",
        "[SPEAKER0] Three.",
    ]
    assert [part.words for part in prompts[0][0].parts] == ["masculine", "feminine"]


def test_in_a_dialogue_a_reference_is_the_first_speaker(higgs, prompts, recording):
    spoken(higgs, "[SPEAKER0] Hello. [SPEAKER1] Ah.", Reference("me", recording, "Why?"))
    first, second = prompts[-1][0].parts
    assert len(first.frames) == int(recording.seconds * 25)
    assert second.words == "masculine"


@pytest.mark.parametrize("tag", ["[SPEAKER4]", "[SPEAKER00]", "[SPEAKER12]", "SPEAKER9:"])
def test_a_speaker_there_is_not_is_refused(higgs, tag):
    with pytest.raises(InputError, match="up to 4 speakers"):
        spoken(higgs, f"[SPEAKER0] Hello. {tag} Who is it?")


def test_no_other_word_is_a_tag():
    text = "The loudSPEAKER1 is on, speaker 1 said [aside]."
    assert [line.text for line in lines(text, None)] == [text]


# References


def test_a_reference_changes_the_voice(higgs, recording):
    reference = Reference("me", recording, "Why is the sky blue?")
    assert not np.array_equal(spoken(higgs, voice=reference), spoken(higgs))


def test_without_a_transcript_the_reference_stands_in_the_scene(higgs, prompts, recording):
    spoken(higgs, voice=Reference("me", recording))
    scene, _, text = prompts[0]
    assert not scene.before
    assert len(scene.parts[0].frames) > 10
    assert text == f"[SPEAKER0] {TEXT}"


def test_the_codes_of_a_reference_are_kept(higgs, recording):
    kept, computed = {}, []

    def keep(kind, compute):
        if kind not in kept:
            computed.append(kind)
            kept[kind] = compute()
        return kept[kind]

    reference = Reference("me", recording, "Why?", keep)
    first = spoken(higgs, voice=reference)
    assert np.array_equal(spoken(higgs, voice=reference), first)
    assert len(computed) == 1
    assert len(kept[computed[0]]) == int(recording.seconds * 25) * 8 * 2
    for damaged in (b"", b"odd", b"\xff" * 32):
        kept[computed[0]] = damaged
        assert np.array_equal(spoken(higgs, voice=reference), first)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.2])
def test_a_reference_that_is_too_short_is_refused(higgs, recording, seconds):
    short = Audio(recording.samples[: int(seconds * recording.rate)], recording.rate)
    with pytest.raises(InputError, match="speech"):
        spoken(higgs, voice=Reference("me", short, "Why?"))


def test_of_five_minutes_a_part_is_taken(higgs, prompts, story):
    long = Audio(np.tile(story.samples, 30)[: 300 * story.rate], story.rate)
    spoken(higgs, voice=Reference("me", long, "A long story."))
    scene = prompts[0][0]
    assert not scene.before, "nobody knows what is said in the part"
    assert 5 * 25 < len(scene.parts[0].frames) <= 30 * 25


def test_silence_is_no_reference(higgs):
    mute = Audio(np.zeros(24_000 * 5, np.float32), 24_000)
    with pytest.raises(InputError, match="speech"):
        spoken(higgs, voice=Reference("mute", mute, "Nothing."))


# Texts


def test_a_text_that_is_too_long_is_refused(higgs):
    with pytest.raises(InputError, match="too long"):
        spoken(higgs, "a" * (LONGEST + 1))


def test_a_text_of_marks_alone_is_silent(higgs):
    with reply(higgs) as begun:
        assert not list(begun.speak("<|eot_id|> [SPEAKER1]"))


def test_the_reference_clips_of_the_app_can_be_read(higgs):
    from conftest import ROOT  # noqa: PLC0415

    clip = read_clip(ROOT / "assets" / "voices" / "rowan" / "audio.flac").audio
    assert len(spoken(higgs, voice=Reference("Rowan", clip, "My grandfather kept a lighthouse.")))
