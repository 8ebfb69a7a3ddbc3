"""OpenS2S keeps the contract, with random weights in the published layout."""

import shutil
import threading

import numpy as np
import pytest
from engine_contract import LONG, EngineContract, check_encoding, sound_of, text_of
from opens2s_house import (
    CODES,
    ask,
    place,
    services_fixture,  # noqa: F401  (a fixture)
    settings,
)

from engines.base import Cancel, Wishes
from engines.messages import (
    AudioChunk,
    Conversation,
    Finished,
    Message,
    Notice,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
)
from engines.opens2s.captions import Captions
from engines.opens2s.generation import Reply, Unit, Word
from engines.opens2s.model import OpenS2S
from engines.opens2s.products import PRESETS
from engines.opens2s.reply import dialogue
from engines.opens2s.text import TextStream
from errors import CancelledError, InputError, UnavailableError
from services import Services
from speech.pcm import Audio


@pytest.fixture
def engine(services):
    return services.engine("opens2s")


class TestOpenS2S(EngineContract):
    """Random weights understand nothing: what asks for sense is asked here in another way."""

    def test_answers_speech_with_speech(self, engine, question):
        events = list(self.ask(engine, Turn(question)))
        kinds = [type(event) for event in events]
        assert kinds[-1] is Finished
        assert kinds.index(TextDelta) < kinds.index(AudioChunk)
        (final,) = [e for e in events if isinstance(e, Transcript) and e.final]
        assert "sky" in final.text.lower()
        timings = events[-1].timings
        assert timings.first_token <= timings.first_audio <= timings.total
        assert 0 < timings.recognized <= timings.total
        assert timings.audio == pytest.approx(len(sound_of(events)) / engine.info.rate)
        assert events[-1].usage.reply_tokens > 0
        assert events[-1].usage.prompt_tokens > question.seconds * 6

    def test_remembers_the_conversation(self, engine):
        """What was said before is in the prompt, so that it changes the answer."""
        before = Conversation().after("My cat is called Biscuit.", "What a lovely name!")
        turn = Turn(text="What is my cat called?")
        first, second = (
            text_of(self.ask(engine, turn, conversation, spoken=False))
            for conversation in (before, Conversation())
        )
        assert first != second

    def test_history_limit_hides_what_is_older(self, engine):
        before = Conversation(limit=0).after("My cat is called Biscuit.", "What a lovely name!")
        turn = Turn(text="What is my cat called?")
        first, second = (
            text_of(self.ask(engine, turn, conversation, spoken=False))
            for conversation in (before, Conversation())
        )
        assert first == second

    def test_two_sessions_do_not_cross(self, engine, question):
        """Every answer is to the sample what it is alone."""
        half = Audio(question.samples[: len(question) // 2], question.rate)
        turns = [Turn(question), Turn(half), Turn(text="Hello.")]

        def answer(number, into):
            sampling = Sampling(temperature=1.0, max_tokens=12, seed=number)
            into[number] = list(self.ask(engine, turns[number], sampling=sampling))

        alone, crossed = {}, {}
        for number in range(len(turns)):
            answer(number, alone)
        threads = [
            threading.Thread(target=answer, args=(number, crossed)) for number in range(len(turns))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(len(turns)):
            assert text_of(crossed[number]) == text_of(alone[number])
            assert len(sound_of(alone[number]))
            assert np.array_equal(sound_of(crossed[number]), sound_of(alone[number]))
        assert len({text_of(events) for events in alone.values()}) == len(turns)


# Streaming


@pytest.fixture
def codes(engine, monkeypatch):
    """What reaches the decoder, code by code."""
    from codec.stream import DecoderStream  # noqa: PLC0415

    pushed, push = [], DecoderStream.push

    def spy(stream, given, *rest):
        pushed.extend(given)
        return push(stream, given, *rest)

    monkeypatch.setattr(DecoderStream, "push", spy)
    return pushed


def test_first_sound_after_eight_units(engine, codes, monkeypatch):
    from codec.stream import DecoderStream  # noqa: PLC0415

    # How many codes the decoder had, each time that it gave sound: it is ahead of the listener.
    had, push = [], DecoderStream.push

    def noted(stream, given, *rest):
        audio = push(stream, given, *rest)
        if len(audio):
            had.append(len(codes))
        return audio

    monkeypatch.setattr(DecoderStream, "push", noted)
    events = ask(engine, Turn(text="Hello."))
    first = next(event for event in events if isinstance(event, AudioChunk))
    assert len(first.audio)
    assert had[0] == 8
    events.close()


@pytest.mark.parametrize("units", [0, 1, 3, 8, 24, 33, 48, 70])
def test_the_tail_is_always_played_and_ends_are_no_sound(
    engine, services, codes, monkeypatch, units
):
    """However many units there are, and wherever ends stand between them."""
    with services.models.use("opens2s", "glm-4-voice-decoder", cancel=Cancel()) as models:
        runtime, decoder = models
    known = runtime.loaded.units
    (end,) = runtime.loaded.speech.ends
    wanted = [number * 7 % CODES for number in range(units)]

    def written(reply, prompt, speaker=None):
        yield Word(65)
        yield Unit(end)
        for number, code in enumerate(wanted):
            yield Unit(known.first + code)
            if number % 5 == 0:
                yield Unit(end)
        yield Unit(known.first - 1)
        yield Unit(known.first + known.count)
        yield Unit(end)

    monkeypatch.setattr(Reply, "write", written)
    events = list(ask(engine, Turn(text="Hello.")))
    assert codes == wanted
    assert len(sound_of(events)) == decoder.samples(units)
    assert np.abs(sound_of(events)).max(initial=0) <= 1


def test_pieces_of_speech_carry_the_words(engine):
    events = list(ask(engine, Turn(text="Hello.")))
    pieces = [event.text for event in events if isinstance(event, AudioChunk)]
    assert "".join(pieces) == text_of(events)
    assert sum(map(bool, pieces)) > 1


def test_words_come_at_the_pace_of_speech():
    captions = Captions()
    captions.write("The sky is blue because ")
    assert captions.speak(0.3) == "The "
    assert captions.speak(0.3) == "sky "
    assert captions.speak(10) == "is blue because "
    captions.write("天空是蓝的")
    assert captions.speak(0.5) == "天空"
    assert captions.rest() == "是蓝的"
    assert not captions.speak(1)


def test_text_comes_while_speech_is_made(engine):
    """The last word is not held back until the speech is over, as in the reference."""
    kinds = [type(event) for event in ask(engine, Turn(text="Hello."))]
    first_sound = kinds.index(AudioChunk)
    assert kinds[:first_sound].count(TextDelta) >= 1
    assert AudioChunk in kinds[len(kinds) - 1 - kinds[::-1].index(TextDelta) :]


def test_answer_is_the_same_in_text_only(engine):
    turn = Turn(text="Why is the sky blue?")
    sampling = Sampling(temperature=0.0, max_tokens=20)
    said, written = (
        text_of(ask(engine, turn, sampling=sampling, spoken=spoken)) for spoken in (True, False)
    )
    assert said == written


def test_transcript_is_not_waited_for(engine, services, question, monkeypatch):
    """The answer is over before a slow recognizer is; its words come all the same."""
    with services.models.use("moonshine-tiny-en", cancel=Cancel()) as (recognizer,):
        slow, recognize = threading.Event(), recognizer.recognize

        def late(*given):
            assert slow.wait(20)
            return recognize(*given)

        monkeypatch.setattr(recognizer, "recognize", late)
        kinds = []
        for event in ask(engine, Turn(question), language="en"):
            kinds.append(type(event))
            if kinds.count(AudioChunk) == 2:
                slow.set()
        assert kinds.index(AudioChunk) < kinds.index(Transcript)


def test_no_recognizer_is_no_reason_not_to_answer(engine, question):
    """Whisper is not here, and nothing may be fetched."""
    events = list(ask(engine, Turn(question), language="zh", spoken=False))
    assert [e.text for e in events if isinstance(e, Transcript)] == [""]
    assert text_of(events)
    (notice,) = [e for e in events if isinstance(e, Notice)]
    assert notice.once and "Whisper base" in notice.text
    assert events[-1].timings.recognized is None


@pytest.mark.parametrize("seconds", [0.0, 0.015])
def test_too_short_to_hear(engine, seconds):
    clip = Audio(np.zeros(int(16_000 * seconds), np.float32), 16_000)
    with pytest.raises(InputError, match="too short"):
        list(ask(engine, Turn(clip)))


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
def test_clips_of_any_rate(engine, question, rate):
    assert bool(text_of(ask(engine, Turn(question.resampled(rate)), spoken=False)))


def test_dialogue_longer_than_the_model(engine):
    with pytest.raises(InputError, match="too long"):
        list(ask(engine, Turn(text="word " * 2000)))


@pytest.mark.parametrize("block", [8, 50])
def test_blocks_are_as_large_as_is_wished(engine, services, monkeypatch, block):
    """As much sound, in pieces of the wished size; without a wish, of the preset's."""
    whole = sound_of(ask(engine, Turn(text="Hello.")))
    events = list(ask(engine.adapted(Wishes(block=block)), Turn(text="Hello.")))
    pieces = [event.audio.seconds for event in events if isinstance(event, AudioChunk)]
    assert len(sound_of(events)) == len(whole)
    assert block * 0.08 * 0.8 < max(pieces) < (block + 8) * 0.08
    assert PRESETS[0].block == 25


def test_top_p_is_heeded(engine):
    """The likeliest token alone is what a tiny share leaves to draw from."""
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


# Cancel


def test_cancel_frees_everything_within_a_step(engine, services):
    with services.models.use("opens2s", cancel=Cancel()) as (runtime,):
        for after in (TextDelta, AudioChunk):
            cancel = Cancel()
            events = ask(engine, Turn(text=LONG), sampling=Sampling(max_tokens=400), cancel=cancel)
            next(event for event in events if isinstance(event, after))
            cancel.set()
            with pytest.raises(CancelledError):
                list(events)
            assert runtime.active == 0


# What it is told


def test_prompt_of_a_dialogue(question):
    conversation = Conversation(
        "Be brief.", (Message("user", "Hi <|im_end|>"), Message("assistant", "Hello!"))
    )
    said = dialogue(Turn(question, " And why? "), conversation)
    assert [message.role for message in said] == ["system", "user", "assistant", "user"]
    assert said[0].text == "Be brief."
    assert said[1].text == "Hi < |im_end|>"
    assert said[3].content == ("And why?", question)


@pytest.mark.parametrize(
    "text", ["<|im_audio|>", "<|im_end|>\n<|im_start|>system", "<think>", "</think>", "<|x|>"]
)
def test_typed_special_tokens_are_text(engine, services, text):
    with services.models.use("opens2s", cancel=Cancel()) as (runtime,):
        tokenizer = runtime.loaded.tokenizer
        (said,) = dialogue(Turn(text=f"say {text} please"), Conversation())
        special = set(tokenizer.all_special_ids)
        assert not special & set(tokenizer(said.text)["input_ids"])
    assert text_of(ask(engine, Turn(text=text), spoken=False))


def test_text_comes_by_whole_characters(services):
    with services.models.use("opens2s", cancel=Cancel()) as (runtime,):
        tokenizer = runtime.loaded.tokenizer
    text = "naïve 你好 😀 é"
    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in tokenizer(text)["input_ids"]]
    assert "".join(pieces) == text
    assert not stream.finish()
    assert not any("\ufffd" in piece for piece in pieces)
    assert stream.push(tokenizer("é")["input_ids"][0]) == ""
    assert stream.finish() == "\ufffd"


# Weights


def refusal(data, **options):
    with Services(settings(data, **options)) as services, pytest.raises(UnavailableError) as error:
        list(ask(services.engine("opens2s"), Turn(text="Hello.")))
    return str(error.value)


@pytest.mark.parametrize("name", ["tts", "audio/preprocessor_config.json", "model.safetensors"])
def test_snapshot_without_a_part_is_named(tmp_path, name):
    data = place(tmp_path)
    path = data / "weights" / "OpenS2S" / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    said = refusal(data)
    assert "OpenS2S" in said
    assert name in said or "*.safetensors" in said


def test_decoder_without_a_file_is_named(tmp_path):
    data = place(tmp_path)
    (data / "weights" / "glm-4-voice-decoder" / "hift.pt").unlink()
    assert "hift.pt" in refusal(data)


def test_strategy_that_cannot_be_read_is_named(tmp_path):
    path = place(tmp_path) / "weights" / "OpenS2S" / "config.json"
    path.write_text(path.read_text().replace('"1:2"', '"1;2"'))
    said = refusal(tmp_path)
    assert "interleave_strategy" in said
    assert "'1;2'" in said


def test_the_time_of_the_encoder_is_told(engine, question, monkeypatch):
    check_encoding(engine, question, (OpenS2S, "hear"), monkeypatch)
