"""VITA-Audio keeps the contract, with random weights in the published layout."""

import threading

import numpy as np
import pytest
from engine_contract import EngineContract, sound_of, text_of
from vita_house import (
    data_fixture,  # noqa: F401  (a fixture)
    final_of,
    services_fixture,  # noqa: F401  (a fixture)
    settings,
)

from engines.base import Cancel
from engines.messages import (
    AudioChunk,
    Conversation,
    Finished,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
)
from engines.vita_audio import layout
from engines.vita_audio.products import PRODUCTS
from services import Services
from settings import Settings
from speech.pcm import Audio


class VitaAudioContract(EngineContract):
    """Random weights understand nothing: what asks for sense is asked here in another way."""

    def test_transcribes(self, engine, question):
        events = list(engine.transcribe(question, cancel=Cancel()))
        final = final_of(events)
        assert final.text
        assert final.text == final_of(engine.transcribe(question, cancel=Cancel())).text
        assert isinstance(events[-1], Finished)
        assert 0 < events[-1].timings.recognized <= events[-1].timings.total
        assert events[-1].timings.audio == pytest.approx(question.seconds)

    def test_transcript_spans_lie_in_the_clip_and_in_order(self, engine, story):
        """The model times no words: a span is a segment of up to 28 s."""
        long = Audio(np.tile(story.samples, 4), story.rate)
        spans = final_of(engine.transcribe(long, cancel=Cancel())).spans
        assert len(spans) >= 2
        assert all(0 <= s.start <= s.end <= long.seconds + 0.1 for s in spans)
        assert [s.start for s in spans] == sorted(s.start for s in spans)

    @pytest.mark.parametrize("rate", [8_000, 44_100])
    def test_any_sample_rate(self, engine, question, rate):
        assert final_of(engine.transcribe(question.resampled(rate), cancel=Cancel())).text

    def test_speaks_in_pieces_that_join(self, engine):
        """The random codec jumps at every sample; at a seam no more than elsewhere."""
        assert 2.0 < self.spoken_seconds(engine, None) < 12.0

    def test_a_reference_changes_the_voice_and_nothing_else(self, engine, reference):
        """Of an engine that takes a voice as a prompt: other codes, and no promise of timbre."""
        assert engine.info.reference == "prompt"
        own, given = (
            sound_of(engine.speak("Good morning.", voice, seed=1, cancel=Cancel()))
            for voice in (None, reference)
        )
        assert not np.array_equal(own, given)
        self.spoken_seconds(engine, reference)

    def spoken_seconds(self, engine, voice):
        text = "This is the first sentence. And here is a second one, which is longer."
        events = list(engine.speak(text, voice, seed=1, cancel=Cancel()))
        chunks = [event.audio for event in events if isinstance(event, AudioChunk)]
        assert len(chunks) >= 2
        assert {chunk.rate for chunk in chunks} == {engine.info.rate}
        sound = sound_of(events)
        assert np.abs(sound).max() <= 1.0
        assert events[-1].timings.audio == pytest.approx(len(sound) / engine.info.rate)
        edges = np.cumsum([len(chunk) for chunk in chunks[:-1]])
        jumps = np.abs(np.diff(sound))
        assert jumps[edges - 1].max() <= np.delete(jumps, edges - 1).max()
        return len(sound) / engine.info.rate

    def test_speech_can_be_understood(self, engine, question, story):
        """What is heard reaches the words."""
        heard = [final_of(engine.transcribe(a, cancel=Cancel())).text for a in (question, story)]
        assert heard[0] != heard[1]

    def test_answers_speech_with_speech(self, engine, question):
        events = list(self.ask(engine, Turn(question)))
        kinds = [type(event) for event in events]
        assert kinds[-1] is Finished
        assert kinds.index(TextDelta) < kinds.index(AudioChunk) < kinds.index(Transcript)
        timings = events[-1].timings
        marks = (timings.first_token, timings.first_clause, timings.first_audio)
        assert list(marks) == sorted(marks)
        assert timings.first_audio < timings.recognized <= timings.total
        assert timings.audio == pytest.approx(len(sound_of(events)) / engine.info.rate)
        assert events[-1].usage.reply_tokens > 0
        assert final_of(events).text == final_of(engine.transcribe(question, cancel=Cancel())).text

    def test_remembers_the_conversation(self, engine):
        """What was said before is in the prompt, so that it changes the answer."""
        before = Conversation().after("My cat is called Biscuit.", "What a lovely name!")
        assert self.answer_after(engine, before) != self.answer_after(engine, Conversation())

    def test_history_limit_hides_what_is_older(self, engine):
        before = Conversation(limit=0).after("My cat is called Biscuit.", "What a lovely name!")
        assert self.answer_after(engine, before) == self.answer_after(engine, Conversation())

    def answer_after(self, engine, conversation):
        turn = Turn(text="What is my cat called?")
        sampling = Sampling(temperature=1.0, max_tokens=20, seed=1)
        return text_of(self.ask(engine, turn, conversation, sampling=sampling, spoken=False))

    def test_two_sessions_do_not_cross(self, engine, question):
        """Every answer is, to the sample, what it is alone; more of them than have a place."""
        half = Audio(question.samples[: len(question) // 2], question.rate)
        turns = [Turn(question), Turn(half), Turn(text="Hello."), Turn(question, "Why?")]
        turns += turns[:2]

        def answer(number, into):
            sampling = Sampling(temperature=1.0, max_tokens=8, seed=number)
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
            assert np.array_equal(sound_of(crossed[number]), sound_of(alone[number]))
        assert len({text_of(events) for events in alone.values()}) == len(turns)


class TestBoost(VitaAudioContract):
    @pytest.fixture
    def engine(self, services):
        return services.engine("vita-audio-boost")


class TestPlusBoost(VitaAudioContract):
    @pytest.fixture
    def engine(self, services):
        return services.engine("vita-audio-plus-boost")


# In the table


def test_four_checkpoints_are_listed_and_disturb_nobody(tmp_path):
    with Services(Settings(_env_file=None, port=0, warm=False, data=tmp_path)) as plain:
        names = [info.name for info in plain.infos()]
        assert [product.info.name for product in PRODUCTS] == [n for n in names if "vita-a" in n]
        assert plain.engine().info.name == "embedded"
        for product in PRODUCTS:
            entry = plain.entries[product.info.name]
            assert "GB" in entry.needs
            assert entry.licence and entry.info.notes
            assert 16e9 < entry.requires.download < 25e9
            assert entry.requires.missing(plain.settings, plain.store) == entry.requires.download
    assert not (tmp_path / "weights" / "VITA-Audio-Boost").exists()


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda p: p.info.title)
def test_what_is_said_of_memory_is_what_the_layout_takes(product, tmp_path):
    """The table may not import torch, so its numbers are held against the rules here."""
    sizes = layout.Sizes() if product.hears_codes else layout._PLUS
    sizes = layout.replace(sizes, heads=product.heads)
    weights = sum(np.prod(shape) for shape in layout.tensors(sizes).values())
    given = settings(tmp_path, vita_users=1, vita_window=4096)
    kept = 2 * (28 + product.heads) * 4 * 128 * 2 * 4096
    encoder = layout.encoder_weights(sizes)
    expected = 2 * weights + 2 * encoder + kept
    assert product.memory(given) == pytest.approx(expected, rel=0.04)
    assert product.snapshot.name in layout.PUBLISHED
