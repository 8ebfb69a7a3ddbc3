"""What every engine must do, whatever it is made of.

A test module joins by making a class from `EngineContract` with an `engine`
fixture (see `test_engine_embedded.py`). Of a task that the engine does not
support, it is checked that a request for it is refused.
"""

import threading
import time

import numpy as np
import pytest
from reference_contract import ReferenceContract
from seeing_engine import picture

from engines.base import Anticipating, Cancel
from engines.images import Image
from engines.messages import (
    AudioChunk,
    Conversation,
    Finished,
    Message,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
)
from errors import CancelledError, InputError
from speech.pcm import Audio

#: A model step is at most this long on the machines that run the tests, seconds.
STEP = 2.0
LONG = "Tell me everything about the history of Rome, from the beginning to today."


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def sound_of(events):
    chunks = [event.audio for event in events if isinstance(event, AudioChunk)]
    return np.concatenate([chunk.samples for chunk in chunks]) if chunks else np.zeros(0)


def check_encoding(engine, question, encoder, monkeypatch, late=0.3):
    """The time until speech is encoded is told, and only of speech.

    Args:
        engine: Is asked.
        question: Speech.
        encoder: A class, and the name of the method that encodes (it may be a generator).
        monkeypatch: Slows it.
        late: By how much, seconds.
    """
    owner, name = encoder
    encode = getattr(owner, name)

    def slow(*given):
        time.sleep(late)
        return encode(*given)

    monkeypatch.setattr(owner, name, slow)
    sampling = Sampling(temperature=0.0, max_tokens=4)

    def timings(turn):
        options = {"sampling": sampling, "spoken": False, "cancel": Cancel()}
        return list(engine.converse(turn, Conversation(), **options))[-1].timings

    heard, typed = timings(Turn(question)), timings(Turn(text="Hello."))
    assert late <= heard.encoded <= heard.first_token <= heard.total
    assert typed.encoded is None


class ImageContract:
    """Images: seen, or refused in words; part of `EngineContract`."""

    def show(self, services, engine, turn, conversation=Conversation()):
        """Ask as everybody does, through the services: there the blind are protected."""
        sampling = Sampling(temperature=0.0, max_tokens=40)
        events = services.converse(
            turn,
            conversation,
            engine=engine.info.name,
            sampling=sampling,
            spoken=False,
            cancel=Cancel(),
        )
        if engine.info.can_see:
            return text_of(events).lower()
        with pytest.raises(InputError) as refusal:
            list(events)
        assert str(refusal.value).startswith(f"{engine.info.title} cannot see.")
        return None

    @pytest.mark.parametrize("colour", ["red", "blue"])
    def test_sees_or_says_that_it_cannot(self, services, engine, colour):
        image = Image(picture(colour, 256, 256))
        turn = Turn(text="Which colour fills this image? One word.", images=(image,))
        answer = self.show(services, engine, turn)
        assert answer is None or colour in answer

    def test_images_need_no_words(self, services, engine):
        answer = self.show(services, engine, Turn(images=(Image(picture("green")),)))
        assert answer is None or answer

    def test_earlier_images_are_seen_or_refused(self, services, engine):
        image = Image(picture("red", 256, 256))
        said = (Message("user", "Look at this.", (image,)), Message("assistant", "I did."))
        turn = Turn(text="Which colour filled the image I showed you? One word.")
        answer = self.show(services, engine, turn, Conversation(messages=said))
        assert answer is None or "red" in answer


class EngineContract(ImageContract, ReferenceContract):
    """Subclass with a fixture `engine`; `services`, `question` and `noise` come from conftest."""

    #: How long the engine may take to notice a cancel, seconds.
    step = STEP

    @pytest.fixture(autouse=True)
    def _only_what_it_supports(self, request, engine, question):
        """Tests marked with a task that the engine lacks end once that is refused."""
        needed = {task for mark in request.node.iter_markers("needs") for task in mark.args}
        lacking = needed - engine.info.tasks
        for task in lacking:
            with pytest.raises(InputError):
                next(self.request_of(task, engine, question))
        if lacking:
            pytest.skip(f"{engine.info.title} has no {', '.join(sorted(lacking))} and says so")

    def request_of(self, task, engine, question):
        if task == "asr":
            return engine.transcribe(question, cancel=Cancel())
        if task == "tts":
            return engine.speak("Hello.", cancel=Cancel())
        return self.ask(engine, Turn(text="Hello."), spoken=task == "sqa")

    def ask(self, engine, turn, conversation=None, **options):
        options.setdefault("sampling", Sampling(temperature=0.0, max_tokens=40))
        options.setdefault("cancel", Cancel())
        options.setdefault("language", "en")
        return engine.converse(turn, conversation or Conversation(), **options)

    # What it says of itself

    def test_info_is_complete(self, engine):
        info = engine.info
        assert info.name and info.title and info.tasks
        assert info.voices or "tts" not in info.tasks
        assert info.rate > 0
        assert info.notes, "an engine says what it cannot do"

    def test_models_are_named_for_every_task(self, engine):
        for task in engine.info.tasks:
            assert engine.models(task)

    # Getting ready

    def test_getting_ready_changes_no_answer(self, engine, question):
        if not isinstance(engine, Anticipating):
            pytest.skip(f"{engine.info.title} begins when the turn is over")
        half = Audio(question.samples[: len(question) // 2], question.rate)
        before = Conversation().after("My cat is called Biscuit.", "What a lovely name!")
        for turn in (Turn(), Turn(half), Turn(question)):
            ready = list(engine.prepare(turn, before, language="en", cancel=Cancel()))
            assert all(isinstance(e, Transcript) and not e.final for e in ready)
            assert bool(ready) == (turn.audio is not None)
        assert "sky" in ready[-1].text.lower()
        events = list(self.ask(engine, Turn(text="What is my cat called?"), before, spoken=False))
        assert "Biscuit" in text_of(events)

    def test_getting_ready_can_be_cancelled(self, engine, question):
        if not isinstance(engine, Anticipating):
            pytest.skip(f"{engine.info.title} begins when the turn is over")
        cancel = Cancel()
        cancel.set()
        with pytest.raises(CancelledError):
            list(engine.prepare(Turn(question), Conversation(), language="en", cancel=cancel))

    # Recognition

    @pytest.mark.needs("asr")
    def test_transcribes(self, engine, question):
        events = list(engine.transcribe(question, cancel=Cancel()))
        transcripts = [event for event in events if isinstance(event, Transcript)]
        assert [event.final for event in transcripts][-1]
        assert sum(event.final for event in transcripts) == 1
        assert "sky" in transcripts[-1].text.lower()
        finished = events[-1]
        assert isinstance(finished, Finished)
        assert 0 < finished.timings.recognized <= finished.timings.total
        assert finished.timings.audio == pytest.approx(question.seconds)

    @pytest.mark.needs("asr")
    def test_transcript_spans_lie_in_the_clip_and_in_order(self, engine, story):
        final = [e for e in engine.transcribe(story, cancel=Cancel()) if isinstance(e, Transcript)]
        spans = final[-1].spans
        assert len(spans) >= 3
        assert all(0 <= s.start <= s.end <= story.seconds + 0.1 for s in spans)
        assert [s.start for s in spans] == sorted(s.start for s in spans)

    @pytest.mark.needs("asr")
    def test_any_sample_rate(self, engine, question):
        events = list(engine.transcribe(question.resampled(44_100), cancel=Cancel()))
        assert "sky" in events[-2].text.lower()

    @pytest.mark.needs("asr")
    @pytest.mark.parametrize("seconds", [0.0, 0.02, 2.0])
    def test_silence_is_said_to_be_silence(self, engine, seconds):
        silence = Audio(np.zeros(int(16_000 * seconds), np.float32), 16_000)
        with pytest.raises(InputError, match="speech"):
            list(engine.transcribe(silence, cancel=Cancel()))

    @pytest.mark.needs("asr")
    def test_noise_is_no_speech(self, engine, noise):
        with pytest.raises(InputError, match="speech"):
            list(engine.transcribe(noise, cancel=Cancel()))

    # Synthesis

    @pytest.mark.needs("tts")
    def test_speaks_in_pieces_that_join(self, engine):
        text = "This is the first sentence. And here is a second one, which is longer."
        events = list(engine.speak(text, seed=1, cancel=Cancel()))
        chunks = [event.audio for event in events if isinstance(event, AudioChunk)]
        assert len(chunks) >= 2
        assert {chunk.rate for chunk in chunks} == {engine.info.rate}
        sound = sound_of(events)
        assert 2.0 < len(sound) / engine.info.rate < 12.0
        assert np.abs(sound).max() <= 1.0
        assert events[-1].timings.audio == pytest.approx(len(sound) / engine.info.rate)
        edge = 0
        for chunk in chunks[:-1]:
            edge += len(chunk)
            jump = abs(sound[edge] - sound[edge - 1])
            assert jump < 0.02, f"a click at {edge / engine.info.rate:.2f} s"

    @pytest.mark.needs("tts", "asr")
    def test_speech_can_be_understood(self, engine):
        sound = sound_of(engine.speak("The weather is fine today.", cancel=Cancel()))
        audio = Audio(sound.astype(np.float32), engine.info.rate)
        heard = [e for e in engine.transcribe(audio, cancel=Cancel()) if isinstance(e, Transcript)]
        assert "weather is fine today" in heard[-1].text.lower()

    @pytest.mark.needs("tts")
    def test_seed_fixes_the_speech(self, engine):
        def speak(seed):
            return sound_of(engine.speak("Good morning.", seed=seed, cancel=Cancel()))

        assert np.array_equal(speak(1), speak(1))
        assert not np.array_equal(speak(1), speak(2))

    @pytest.mark.needs("tts")
    @pytest.mark.parametrize("text", ["", "   ", "😀🎉", "\x00\x01", "***"])
    def test_nothing_to_speak(self, engine, text):
        with pytest.raises(InputError):
            list(engine.speak(text, cancel=Cancel()))

    @pytest.mark.needs("tts")
    def test_unknown_voice(self, engine):
        with pytest.raises(InputError, match="nobody"):
            list(engine.speak("Hello.", "nobody", cancel=Cancel()))

    # Conversation

    @pytest.mark.needs("sqa")
    def test_answers_speech_with_speech(self, engine, question):
        events = list(self.ask(engine, Turn(question)))
        kinds = [type(event) for event in events]
        assert kinds[-1] is Finished
        assert kinds.index(Transcript) < kinds.index(TextDelta) < kinds.index(AudioChunk)
        assert "light" in text_of(events).lower()
        timings = events[-1].timings
        marks = (timings.recognized, timings.first_token, timings.first_clause)
        assert list(marks) == sorted(marks)
        assert timings.first_clause <= timings.first_audio <= timings.total
        assert timings.audio == pytest.approx(len(sound_of(events)) / engine.info.rate)
        assert events[-1].usage.reply_tokens > 0

    @pytest.mark.needs("sqa")
    def test_speech_begins_before_the_text_ends(self, engine):
        turn = Turn(text="Count from one to thirty in words.")
        sampling = Sampling(temperature=0.0, max_tokens=90)
        kinds = [type(event) for event in self.ask(engine, turn, sampling=sampling)]
        last_text = len(kinds) - 1 - kinds[::-1].index(TextDelta)
        assert kinds.index(AudioChunk) < last_text

    @pytest.mark.needs("text")
    def test_text_only(self, engine):
        events = list(self.ask(engine, Turn(text="Say hello."), spoken=False))
        assert text_of(events)
        assert not len(sound_of(events))

    @pytest.mark.needs("text")
    def test_remembers_the_conversation(self, engine):
        before = Conversation().after("My cat is called Biscuit.", "What a lovely name!")
        events = self.ask(engine, Turn(text="What is my cat called?"), before, spoken=False)
        assert "biscuit" in text_of(events).lower()

    @pytest.mark.needs("text")
    def test_conversation_is_not_changed(self, engine):
        before = Conversation().after("Hello.", "Hello!")
        list(self.ask(engine, Turn(text="How are you?"), before, spoken=False))
        assert before == Conversation().after("Hello.", "Hello!")

    @pytest.mark.needs("text")
    def test_history_limit_hides_what_is_older(self, engine):
        before = Conversation(limit=0).after("My cat is called Biscuit.", "What a lovely name!")
        events = self.ask(engine, Turn(text="What is my cat called?"), before, spoken=False)
        assert "biscuit" not in text_of(events).lower()

    @pytest.mark.needs("sqa")
    def test_nothing_to_answer(self, engine):
        with pytest.raises(InputError):
            list(self.ask(engine, Turn()))

    @pytest.mark.needs("text")
    def test_seed_fixes_the_answer(self, engine):
        def answer(seed):
            sampling = Sampling(temperature=1.0, max_tokens=30, seed=seed)
            turn = Turn(text="Invent a short name for a boat.")
            return text_of(self.ask(engine, turn, sampling=sampling, spoken=False))

        assert answer(5) == answer(5)
        assert len({answer(seed) for seed in range(6)}) > 1

    # Stopping

    @pytest.mark.needs("sqa")
    @pytest.mark.parametrize("after", [Transcript, TextDelta, AudioChunk])
    def test_cancel_stops_within_a_step(self, engine, question, after):
        cancel = Cancel()
        turn = Turn(question, LONG)
        sampling = Sampling(max_tokens=400)
        began = None
        with pytest.raises(CancelledError):
            for event in self.ask(engine, turn, cancel=cancel, sampling=sampling):
                if isinstance(event, after) and began is None:
                    cancel.set()
                    began = time.perf_counter()
        assert time.perf_counter() - began < self.step

    @pytest.mark.needs("asr", "tts", "sqa")
    def test_cancelled_before_it_begins(self, engine, question):
        cancel = Cancel()
        cancel.set()
        for events in (
            engine.transcribe(question, cancel=cancel),
            engine.speak("Hello.", cancel=cancel),
            self.ask(engine, Turn(text="Hello."), cancel=cancel),
        ):
            with pytest.raises(CancelledError):
                list(events)

    @pytest.mark.needs("sqa")
    def test_closing_frees_everything(self, engine):
        before = threading.active_count()
        sampling = Sampling(max_tokens=400)
        events = self.ask(engine, Turn(text=LONG), sampling=sampling)
        next(events)
        events.close()
        deadline = time.monotonic() + self.step
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threading.active_count() <= before

    # Sharing

    @pytest.mark.needs("sqa")
    def test_two_sessions_do_not_cross(self, engine):
        animals = {"cat": "Biscuit", "dog": "Rufus", "horse": "Thunder"}
        alone = {}
        crossed = {}

        def run(animal, name, results):
            before = Conversation().after(f"My {animal} is called {name}.", "How nice!")
            sampling = Sampling(temperature=0.0, max_tokens=30, seed=3)
            turn = Turn(text=f"What is my {animal} called? Answer in one sentence.")
            events = list(self.ask(engine, turn, before, sampling=sampling))
            results[animal] = text_of(events)

        for animal, name in animals.items():
            run(animal, name, alone)
        threads = [
            threading.Thread(target=run, args=(animal, name, crossed))
            for animal, name in animals.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for animal, name in animals.items():
            assert name in crossed[animal]
            assert all(other not in crossed[animal] for other in animals.values() if other != name)
        assert crossed == alone, "another session changed the words of this one"
