"""What an engine must do with a voice that is given as a recording: a part of the contract."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from engines.base import Cancel, Reference
from engines.messages import AudioChunk, Conversation, Sampling, Turn
from errors import CancelledError, InputError
from speech.pcm import Audio

TEXT = "This is the first sentence. And here is a second one, which is longer."
#: A step between two samples from which on a seam is heard as a click.
CLICK = 0.02


def sound_of(events):
    return np.concatenate([e.audio.samples for e in events if isinstance(e, AudioChunk)])


class ReferenceContract:
    """For `EngineContract`; an engine that takes no reference refuses it in its own words."""

    @pytest.fixture
    def reference(self, services, engine):
        reference = services.voices.library.get("Rowan")
        if engine.info.reference is None:
            with pytest.raises(InputError) as refusal:
                next(engine.speak("Hello.", reference, cancel=Cancel()))
            assert str(refusal.value) == engine.info.unmatched
            with pytest.raises(InputError):
                next(self.ask(engine, Turn(text="Hello."), voice=reference))
            pytest.skip(f"{engine.info.title} takes no reference and says so")
        return reference

    @pytest.mark.needs("tts")
    def test_a_reference_changes_the_voice_and_nothing_else(self, services, engine, reference):
        own, given = (
            list(engine.speak(TEXT, voice, seed=1, cancel=Cancel())) for voice in (None, reference)
        )
        texts = [
            "".join(e.text for e in events if isinstance(e, AudioChunk)) for events in (own, given)
        ]
        assert texts[0] == texts[1]
        sound = sound_of(given)
        assert not np.array_equal(sound, sound_of(own))
        assert np.abs(sound).max() <= 1.0
        edge = 0
        chunks = [event.audio for event in given if isinstance(event, AudioChunk)]
        assert len(chunks) >= 2
        for chunk in chunks[:-1]:
            assert chunk.rate == engine.info.rate
            edge += len(chunk)
            assert abs(sound[edge] - sound[edge - 1]) < CLICK
        if engine.info.reference != "prompt":
            near = [
                services.voices.similarity(
                    Audio(sound_of(events), engine.info.rate), reference.audio, cancel=Cancel()
                )
                for events in (own, given)
            ]
            assert near[1] > near[0]

    @pytest.mark.needs("tts")
    def test_seed_fixes_the_speech_of_a_reference(self, engine, reference):
        def speak(seed):
            return sound_of(engine.speak("Good morning.", reference, seed=seed, cancel=Cancel()))

        assert np.array_equal(speak(1), speak(1))
        assert not np.array_equal(speak(1), speak(2))

    @pytest.mark.needs("sqa")
    def test_answers_in_the_voice_of_a_reference(self, engine, reference):
        turn = Turn(text="Say hello.")
        sampling = Sampling(temperature=0.0, max_tokens=20, seed=1)
        own, given = (
            sound_of(
                engine.converse(turn, Conversation(), voice, sampling=sampling, cancel=Cancel())
            )
            for voice in (None, reference)
        )
        assert not np.array_equal(own, given)

    @pytest.mark.needs("tts")
    def test_a_cancel_is_heard_while_a_reference_is_new(self, engine, reference):
        cancel = Cancel()
        new = replace(reference, keep=lambda kind, compute: compute())
        threading.Timer(0.5, cancel.set).start()
        with pytest.raises(CancelledError):
            for _ in range(100):
                list(engine.speak(TEXT, new, cancel=cancel))

    @pytest.mark.needs("tts")
    def test_two_references_at_once_do_not_cross(self, services, engine, reference):
        references = [reference, services.voices.library.get("Pip")]

        def speak(number):
            return sound_of(engine.speak(TEXT, references[number], seed=3, cancel=Cancel()))

        alone = [speak(number) for number in range(2)]
        together = {}
        threads = [
            threading.Thread(target=lambda n=number: together.update({n: speak(n)}))
            for number in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not np.array_equal(alone[0], alone[1])
        assert all(np.array_equal(alone[number], together[number]) for number in range(2))

    @pytest.mark.needs("tts")
    def test_a_reference_without_speech_is_refused(self, engine, reference):
        mute = Reference("mute", Audio(np.zeros(24_000 * 5, np.float32), 24_000))
        with pytest.raises(InputError):
            list(engine.speak("Hello.", mute, cancel=Cancel()))
