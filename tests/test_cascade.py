"""The cascade's stages, with parts that fail, stall and are slow on purpose."""

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from engines.base import Cancel, Wishes
from engines.cascade import embedded
from engines.cascade.engine import Cascade
from engines.cascade.parts import Recognized
from engines.cascade.stages import Stages
from engines.messages import AudioChunk, Conversation, Finished, Notice, TextDelta, Turn, Usage
from errors import CancelledError, EngineError, InputError, UnavailableError
from speech.pcm import Audio

RATE = 24_000


class Part:
    """A recognizer, chat model and synthesizer in one; its methods can be replaced."""

    rate = RATE
    voices = embedded.INFO.voices

    def __init__(self, **methods):
        self.__dict__.update(methods)

    def recognize(self, audio, language=None):
        return Recognized("Hello?", ())

    def reply(self, prompts, sampling, put, cancel):
        for word in [
            "One",
            "sentence",
            "is",
            "here.",
            "And",
            "one",
            "more",
            "is",
            "there.",
            "The",
            "end",
            "is",
            "near.",
        ]:
            put(word + " ")
        return Usage(reply_tokens=13)

    def synthesize(self, clause, voice, random):
        return Audio(np.full(RATE // 2, 0.1, np.float32), RATE)


class Shelf:
    """Models of a test: everything is the same part."""

    def __init__(self, part):
        self.part = part
        self.users = 0

    @contextmanager
    def use(self, *names, cancel):
        self.users += 1
        try:
            yield (self.part,) * len(names)
        finally:
            self.users -= 1


def converse(part, cancel=None, **options):
    shelf = Shelf(part)
    engine = Cascade(embedded.INFO, embedded.PARTS, shelf)
    turn = Turn(text="Go on.")
    events = engine.converse(turn, Conversation(), cancel=cancel or Cancel(), **options)
    return shelf, events


def own_threads():
    return [t for t in threading.enumerate() if t.name.startswith("parley ")]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    deadline = time.monotonic() + 5
    while own_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not own_threads()


def test_stages_overlap():
    """The synthesizer speaks the first clause while the chat model writes on."""
    speaking = threading.Event()

    def reply(prompts, sampling, put, cancel):
        put("This is the first sentence. And ")
        assert speaking.wait(5), "nothing was spoken while the model wrote"
        put("this is the second one.")
        return Usage()

    def synthesize(clause, voice, random):
        speaking.set()
        return Audio(np.full(RATE, 0.1, np.float32), RATE)

    _, events = converse(Part(reply=reply, synthesize=synthesize))
    assert isinstance(list(events)[-1], Finished)


@pytest.mark.parametrize("stage", ["reply", "synthesize"])
def test_a_failing_stage_ends_the_reply_and_frees_everything(stage):
    def fail(*arguments):
        raise RuntimeError("the model broke")

    shelf, events = converse(Part(**{stage: fail}))
    with pytest.raises(EngineError, match="the model broke") as caught:
        list(events)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert shelf.users == 0


def test_an_error_for_people_is_passed_on_as_it_is():
    def fail(*arguments):
        raise InputError("Too long.")

    _, events = converse(Part(reply=fail))
    with pytest.raises(InputError, match=r"^Too long\.$"):
        list(events)


def test_what_was_said_before_a_failure_is_kept():
    def reply(prompts, sampling, put, cancel):
        put("This was said. ")
        put("This too.")
        time.sleep(0.2)
        raise RuntimeError("cut")

    _, events = converse(Part(reply=reply))
    said = ""
    with pytest.raises(EngineError, match="cut"):
        for event in events:
            if isinstance(event, TextDelta):
                said += event.text
    assert said == "This was said. This too."


def test_a_slow_listener_holds_the_model_back():
    """Queues are bounded: a model does not run ahead of a listener without end."""
    written = []

    def reply(prompts, sampling, put, cancel):
        for number in range(5_000):
            put(f"Sentence number {number} is here. ")
            written.append(number)
        return Usage()

    _, events = converse(Part(reply=reply))
    next(events)
    time.sleep(0.5)
    assert len(written) < 400
    events.close()


def test_cancel_reaches_a_model_that_is_held_back():
    cancel = Cancel()
    _, events = converse(Part(), cancel)
    next(events)
    cancel.set()
    with pytest.raises(CancelledError):
        list(events)


def test_empty_answers_are_no_error():
    _, events = converse(Part(reply=lambda *_: Usage()))
    assert [type(event) for event in events] == [Finished]


def test_an_answer_that_cannot_be_spoken_is_still_shown():
    def reply(prompts, sampling, put, cancel):
        put("😀 🎉")
        return Usage()

    _, events = converse(Part(reply=reply))
    assert [type(event) for event in events] == [TextDelta, Finished]


def test_the_parts_of_a_reply_join_into_one_level():
    _, events = converse(Part())
    chunks = [event.audio for event in events if isinstance(event, AudioChunk)]
    assert len(chunks) >= 2
    sound = np.concatenate([chunk.samples for chunk in chunks])
    assert np.abs(np.diff(sound)).max() < 0.02


def test_models_that_are_not_there():
    class Empty:
        def use(self, *names, cancel):
            raise UnavailableError("There is no model.")

    engine = Cascade(embedded.INFO, embedded.PARTS, Empty())
    with pytest.raises(UnavailableError, match="no model"):
        list(engine.converse(Turn(text="Go on."), Conversation(), cancel=Cancel()))


def test_a_thousand_stages_leave_nothing_behind():
    """Cancel flags that live on do not collect callbacks of requests that are over."""
    cancel = Cancel()
    for _ in range(1_000):
        with Stages(cancel) as stages:
            assert list(stages.run("counting", lambda put: put(1))) == [1]
    assert len(cancel._callbacks) == 0


# Synthesizers whose clauses come in pieces


class Streams(Part):
    """Speaks each clause in ten pieces of 50 ms, as loud as its number; keeps what it was told."""

    def __init__(self, **methods):
        super().__init__(**methods)
        self.begun, self.closed = [], 0

    @contextmanager
    def begin(self, voice, *, style, random, cancel):
        self.begun.append((voice, style))
        try:
            yield self
        finally:
            self.closed += 1

    def speak(self, clause):
        for _ in range(10):
            yield Audio(np.full(RATE // 20, 0.1, np.float32), RATE)


def test_pieces_are_heard_before_their_clause_is_complete():
    heard = threading.Event()

    def speak(clause):
        yield Audio(np.full(RATE // 4, 0.1, np.float32), RATE)
        assert heard.wait(5), "a piece was held back until its clause was complete"
        yield Audio(np.full(RATE // 4, 0.1, np.float32), RATE)

    part = Streams(speak=speak)
    _, events = converse(part)
    for event in events:
        if isinstance(event, AudioChunk):
            heard.set()
    assert part.closed == 1


def test_pieces_tell_what_they_say_once():
    _, events = converse(Streams())
    chunks = [event for event in events if isinstance(event, AudioChunk)]
    said = " ".join(chunk.text.strip() for chunk in chunks if chunk.text)
    assert said == "One sentence is here. And one more is there. The end is near."
    assert chunks[0].text and not chunks[1].text


def test_the_style_reaches_the_synthesizer():
    part = Streams()
    engine = Cascade(embedded.INFO, embedded.PARTS, Shelf(part))
    whispering = engine.adapted(Wishes(style="whispering"))
    for each in (engine, whispering, engine):
        list(each.converse(Turn(text="Go on."), Conversation(), cancel=Cancel()))
    assert [style for _, style in part.begun] == ["", "whispering", ""]


def test_a_failed_sentence_is_reported_and_the_next_one_spoken():
    for kind in (Part, Streams):
        failing = iter([False, True, False])

        def whole(clause, voice, random, failing=failing):
            if next(failing):
                raise EngineError("The voice broke.")
            return Audio(np.full(RATE // 2, 0.1, np.float32), RATE)

        def pieces(clause, whole=whole):
            yield Audio(np.full(RATE // 20, 0.1, np.float32), RATE)
            yield whole(clause, "", None)

        part = kind(synthesize=whole) if kind is Part else kind(speak=pieces)
        _, events = converse(part)
        events = list(events)
        told = [event.text for event in events if isinstance(event, Notice)]
        assert len(told) == 1
        assert "And one more is there" in told[0] and "The voice broke." in told[0]
        spoken = [e.text.strip() for e in events if isinstance(e, AudioChunk) and e.text]
        assert "The end is near." in spoken
        assert isinstance(events[-1], Finished)


def test_two_failed_sentences_in_a_row_end_the_reply():
    def fail(*arguments):
        raise UnavailableError("Nobody there.")

    _, events = converse(Part(synthesize=fail))
    given = []
    with pytest.raises(UnavailableError, match="Nobody there"):
        given += events
    assert not any(isinstance(event, AudioChunk) for event in given)


def test_a_cut_answer_is_spoken_as_far_as_it_came():
    """Only then is it told that it was cut."""

    def reply(prompts, sampling, put, cancel):
        put("This was said. And this ")
        put("was, too.")
        raise EngineError("This was cut.")

    _, events = converse(Part(reply=reply))
    spoken = ""
    with pytest.raises(EngineError, match="cut"):
        for event in events:
            if isinstance(event, AudioChunk):
                spoken += event.text + " "
    assert " ".join(spoken.split()) == "This was said. And this was, too."


def test_a_slow_listener_holds_the_synthesizer_back():
    made = []

    def speak(clause):
        for number in range(100_000):
            made.append(number)
            yield Audio(np.full(RATE // 20, 0.1, np.float32), RATE)

    part = Streams(speak=speak)
    _, events = converse(part)
    next(event for event in events if isinstance(event, AudioChunk))
    time.sleep(0.5)
    assert len(made) < 200
    events.close()
    assert part.closed == 1


def test_nothing_of_a_turn_is_heard_in_the_next():
    """Turn after turn is interrupted in mid-sentence; each turn speaks at a level of its own."""
    level = [0.0]

    def speak(clause):
        mine = level[0]
        for _ in range(1000):
            time.sleep(0.001)
            yield Audio(np.full(RATE // 20, mine, np.float32), RATE)

    engine = Cascade(embedded.INFO, embedded.PARTS, Shelf(Streams(speak=speak)))
    for turn in range(1, 9):
        level[0] = 0.05 * turn
        cancel = Cancel()
        heard = []
        with pytest.raises(CancelledError):
            for event in engine.converse(Turn(text="Go on."), Conversation(), cancel=cancel):
                if isinstance(event, AudioChunk):
                    heard.append(event.audio.samples)
                    if len(heard) == turn % 4 + 1:
                        cancel.set()
        loudest = max(np.abs(samples).max() for samples in heard)
        assert loudest == pytest.approx(0.05 * turn)
