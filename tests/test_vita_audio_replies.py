"""VITA-Audio's replies: what is asked of the model, and what is made of what it writes."""

import threading

import numpy as np
import pytest
from engine_contract import LONG, check_encoding, sound_of, text_of
from vita_house import (
    BOTH,
    ask,
    data_fixture,  # noqa: F401  (a fixture)
    services_fixture,  # noqa: F401  (a fixture)
    settings,
)

from codec.speech_tokenizer import SpeechTokenizer
from engines.base import Cancel, Reference, Wishes
from engines.messages import AudioChunk, Conversation, Finished, Sampling, Turn
from engines.vita_audio.interleaving import Interleaving
from engines.vita_audio.runtime import VitaAudio
from engines.vita_audio.schedule import BOOST, VANILLA
from engines.vita_audio.sensevoice import SenseVoice
from errors import CancelledError, EngineError, InputError, UnavailableError
from services import Services
from speech.pcm import Audio, silence

# How it asks and answers


@pytest.fixture
def prompts(monkeypatch):
    """Every prompt as text, and the speed mode it was answered in."""
    seen, write = [], VitaAudio.write

    def spy(vita, prompt, heard, **options):
        seen.append((vita.vocabulary.decode(list(prompt.ids)), options["mode"], heard))
        return write(vita, prompt, heard, **options)

    monkeypatch.setattr(VitaAudio, "write", spy)
    return seen


def test_recognition_is_vanilla_and_replies_are_in_the_mode_of_the_checkpoint(
    services, question, prompts
):
    engine = services.engine("vita-audio-boost")
    list(ask(engine, Turn(question)))
    (answer, mode, _), (recognition, careful, _) = prompts
    assert answer.startswith("<|im_start|>system\nYour Name: Luke\nYour Gender: male\n\nRespond")
    assert "<|im_start|>user\n\n<|begin_of_audio|><|audio_" in answer
    assert recognition.startswith(
        "<|im_start|>user\nConvert the speech to text.\n<|begin_of_audio|>"
    )
    assert (mode, careful) == (BOOST, VANILLA)
    prompts.clear()
    list(engine.transcribe(question, cancel=Cancel()))
    list(ask(engine, Turn(text="Hello."), spoken=False))
    assert [mode for _, mode, _ in prompts] == [VANILLA, VANILLA]
    assert prompts[1][0] == "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n"


def test_voice_and_question_are_heard_in_the_order_of_the_prompt(services, question, prompts):
    engine = services.engine("vita-audio-plus-boost")
    voice = services.voices.library.get("Rowan")
    list(ask(engine, Turn(question), voice=voice))
    text, _, (first, second) = prompts[0]
    assert text.startswith("<|im_start|>system\nYour Voice: <|begin_of_audio|><|context")
    with services.models.use(engine.info.name, cancel=Cancel()) as (vita,):
        assert np.array_equal(second.features, vita.hear(question, None).features)
    assert len(first.features) != len(second.features)


def test_own_instructions_and_earlier_turns(services, prompts):
    engine = services.engine("vita-audio-boost")
    before = Conversation(system="Be brief.").after("Hi.", "Hello!")
    list(ask(engine, Turn(text="How are you?"), before))
    assert prompts[0][0] == (
        "<|im_start|>system\nBe brief.\nRespond in a text-audio interleaved manner.<|im_end|>\n"
        "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_settings_of_persona_mode_and_window(data, prompts):
    given = settings(
        data, vita_persona="Ada, female", vita_mode="vanilla", vita_window=90, vita_users=1
    )
    with Services(given) as services:
        engine = services.engine("vita-audio-boost")
        sampling = Sampling(temperature=0.0, max_tokens=200, seed=1)
        with pytest.raises(UnavailableError, match="stopped at 90 tokens"):
            list(ask(engine, Turn(text="Hello."), sampling=sampling))
        assert "Your Name: Ada\nYour Gender: female" in prompts[0][0]
        assert prompts[0][1] == VANILLA
        with pytest.raises(InputError, match=r"tokens long .* only 90 are kept"):
            list(ask(engine, Turn(text=LONG * 3)))


@pytest.mark.parametrize("name", BOTH)
def test_a_clip_longer_than_the_window_is_refused_before_it_is_worked_on(data, name, story):
    with (
        Services(settings(data, vita_window=100)) as services,
        pytest.raises(InputError, match=r"tokens long .* only 100 are kept"),
    ):
        list(ask(services.engine(name), Turn(story)))


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seconds", [0.2, 300.0])
def test_references_too_short_and_very_long(services, story, name, seconds):
    """Of five minutes the best part is used; 0.2 s are refused in words."""
    engine = services.engine(name)
    repeated = np.tile(story.samples, 30)[: round(seconds * story.rate)]
    reference = Reference("given", Audio(repeated, story.rate))
    speech = engine.speak("Hello.", reference, seed=1, cancel=Cancel())
    if seconds < 1:
        with pytest.raises(InputError, match="at least 1"):
            list(speech)
    else:
        assert len(sound_of(speech))


@pytest.mark.parametrize("name", BOTH)
def test_a_reference_is_encoded_once(services, name):
    kept = {}

    def keep(kind, compute):
        return kept.setdefault(kind, None) or kept.update({kind: compute()}) or kept[kind]

    given = services.voices.library.get("Rowan")
    reference = Reference("Rowan", given.audio, keep=keep)
    engine = services.engine(name)
    speak = [sound_of(engine.speak("Hi.", reference, seed=1, cancel=Cancel())) for _ in range(2)]
    assert np.array_equal(*speak)
    (value,) = kept.values()
    assert value


def test_a_clip_without_speech_is_refused(services):
    for name in BOTH:
        with pytest.raises(InputError, match="speech"):
            list(ask(services.engine(name), Turn(silence(2.0, 16_000))))


def test_long_texts_are_read_in_pieces_and_heard_as_one(services, prompts):
    text = "The weather is fine today. " * 24
    events = list(services.engine("vita-audio-boost").speak(text, seed=1, cancel=Cancel()))
    assert len(prompts) >= 2
    assert "".join(p.split("speech.\n")[1].split("<|im_end")[0] + " " for p, *_ in prompts) == text
    assert events[-1].timings.audio > 10


@pytest.mark.parametrize("block", [8, 50])
def test_blocks_are_as_large_as_is_wished(services, block):
    engine = services.engine("vita-audio-boost")
    text = "This is the first sentence, and it is as long as a sentence of some words may be."
    whole = sound_of(engine.speak(text, seed=1, cancel=Cancel()))
    asked = engine.adapted(Wishes(block=block)).speak(text, seed=1, cancel=Cancel())
    pieces = [event.audio for event in asked if isinstance(event, AudioChunk)]
    assert sum(map(len, pieces)) == len(whole)
    assert block * 0.08 * 0.8 < max(piece.seconds for piece in pieces) < (block + 8) * 0.08


def test_top_p_is_heeded(services):
    """The likeliest token alone is what a tiny share leaves to draw from."""
    engine = services.engine("vita-audio-boost")
    written = [
        text_of(
            ask(
                engine,
                Turn(text="Hello."),
                sampling=Sampling(1.5, 20, seed, top_p),
                spoken=False,
            )
        )
        for seed, top_p in ((1, 0.001), (2, 0.001), (1, None), (2, None))
    ]
    assert written[0] == written[1]
    assert written[2] != written[3]


def test_chinese_is_read(services, prompts):
    assert len(sound_of(services.engine("vita-audio-boost").speak("你好，上海。", cancel=Cancel())))
    assert "speech.\n你好，上海。<|im_end|>" in prompts[0][0]


# Streaming


@pytest.fixture
def pushed(monkeypatch):
    """What reaches the decoder."""
    from codec.stream import DecoderStream  # noqa: PLC0415

    codes, push = [], DecoderStream.push

    def spy(stream, given, *rest):
        codes.extend(given)
        return push(stream, given, *rest)

    monkeypatch.setattr(DecoderStream, "push", spy)
    return codes


@pytest.fixture
def said(monkeypatch):
    """Makes the model say what a test wants, token by token."""
    ids = []

    def write(vita, prompt, heard, **options):
        yield from ids

    monkeypatch.setattr(VitaAudio, "write", write)
    return ids


def decoder_of(services):
    with services.models.use("glm-4-voice-decoder", cancel=Cancel()) as (decoder,):
        return decoder


def words_of(services):
    with services.models.use("vita-audio-boost", cancel=Cancel()) as (vita,):
        return vita.vocabulary


@pytest.mark.parametrize("count", [1, 7, 8, 9, 33, 60])
def test_the_tail_is_always_played(services, said, pushed, count):
    words = words_of(services)
    said += [*words.encode("Hi"), words.begin]
    said += [words.first_code + code for code in range(count)] + [words.end, words.turn_end]
    events = list(ask(services.engine("vita-audio-boost"), Turn(text="Hello.")))
    assert pushed == list(range(count))
    assert len(sound_of(events)) == decoder_of(services).samples(count)
    assert text_of(events) == "Hi"


def test_replies_without_speech_and_without_text(services, said):
    engine, words = services.engine("vita-audio-boost"), words_of(services)
    said += words.encode("Only text.")
    events = list(ask(engine, Turn(text="Hello.")))
    assert (text_of(events), len(sound_of(events))) == ("Only text.", 0)
    with pytest.raises(InputError, match="made no speech"):
        list(engine.speak("Hello.", cancel=Cancel()))
    said[:] = [words.first_code + code for code in range(20)]
    events = list(ask(engine, Turn(text="Hello.")))
    assert (text_of(events), len(sound_of(events))) == ("", decoder_of(services).samples(20))
    said.clear()
    events = list(ask(engine, Turn(text="Hello.")))
    assert [type(event) for event in events] == [Finished]


def test_ids_that_stand_for_nothing_end_the_reply_with_an_error(services, said):
    words = words_of(services)
    said += [*words.encode("Hi"), words.first_code + words.codes]
    with pytest.raises(EngineError, match="stands for nothing"):
        list(ask(services.engine("vita-audio-boost"), Turn(text="Hello.")))


def test_first_sound_after_eight_codes(services, monkeypatch):
    """Nothing waits for the end of a group of codes."""
    words = words_of(services)
    eighth, release = threading.Event(), threading.Event()

    def write(vita, prompt, heard, **options):
        yield words.begin
        for code in range(8):
            yield words.first_code + code
        eighth.set()
        assert release.wait(20)
        yield words.end

    monkeypatch.setattr(VitaAudio, "write", write)
    events = ask(services.engine("vita-audio-boost"), Turn(text="Hello."))
    assert isinstance(next(events), AudioChunk)
    assert eighth.is_set()
    release.set()
    list(events)


def test_text_is_whole_whatever_comes_between(services):
    """What the stream shows is what all of its tokens say."""
    engine = services.engine("vita-audio-boost")
    seen, take = [], Interleaving.take
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Interleaving, "take", lambda self, token: seen.append(token) or take(self, token)
        )
        sampling = Sampling(temperature=1.0, max_tokens=30, seed=4)
        text = text_of(ask(engine, Turn(text="Hello."), sampling=sampling))
    words = words_of(services)
    whole = words.tokenizer.decode([t for t in seen if t < words.text_end])
    assert text == whole


def test_cancel_frees_everything_within_a_step(services, question):
    with services.models.use("vita-audio-boost", cancel=Cancel()) as (vita,):
        cancel = Cancel()
        sampling = Sampling(temperature=1.0, max_tokens=2000, seed=1)
        events = ask(
            services.engine("vita-audio-boost"), Turn(text=LONG), sampling=sampling, cancel=cancel
        )
        next(events)
        assert vita._steps.active == 1
        cancel.set()
        with pytest.raises(CancelledError):
            list(events)
        assert vita._steps.active == 0


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("vita-audio-boost", (SpeechTokenizer, "encode")),
        ("vita-audio-plus-boost", (SenseVoice, "forward")),
    ],
)
def test_the_time_of_the_encoder_is_told(services, question, monkeypatch, name, encoder):
    check_encoding(services.engine(name), question, encoder, monkeypatch)
