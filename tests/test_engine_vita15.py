"""VITA-1.5 keeps the contract, with random weights in the published layout."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from engine_contract import LONG, EngineContract, check_encoding, sound_of, text_of
from seeing_engine import picture
from vita15_checkpoint import SIZES, place
from vita15_house import ask, services_over, settings

from engines.base import Cancel
from engines.images import Image
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
    Unanswered,
    Waiting,
)
from engines.vita.runtime import Runtime
from engines.vita.vocabulary import HEARD, IGNORED, READ
from engines.vita.whale import Whale
from errors import CancelledError, InputError
from speech.pcm import Audio


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    yield from services_over(place(tmp_path_factory.mktemp("data")))


@pytest.fixture
def engine(services):
    return services.engine("vita-1.5")


@pytest.fixture
def runtime(services):
    with services.models.use("vita-1.5", cancel=Cancel()) as (runtime,):
        yield runtime


class TestVita15(EngineContract):
    """Random weights understand nothing: what asks for sense is asked here in another way."""

    @pytest.mark.parametrize("colour", ["red", "blue"])
    def test_sees_or_says_that_it_cannot(self, services, engine, colour):
        """What is shown changes the answer."""
        shown = Turn(text="Which colour?", images=(Image(picture(colour, 256, 256)),))
        assert self.show(services, engine, shown)
        other = Turn(text="Which colour?", images=(Image(picture("green", 256, 256)),))
        assert self.show(services, engine, shown) != self.show(services, engine, other)

    def test_earlier_images_are_seen_or_refused(self, services, engine):
        def answer(colour):
            image = Image(picture(colour, 256, 256))
            said = (Message("user", "Look.", (image,)), Message("assistant", "I did."))
            return self.show(services, engine, Turn(text="Which?"), Conversation(messages=said))

        assert answer("red") == answer("red") != answer("blue")

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
        assert events[-1].usage.prompt_tokens > question.seconds * 12

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
        """Every answer is to the sample what it is alone; one is heard while another is given."""
        image = Image(picture("red", 256, 256))
        half = Audio(question.samples[: len(question) // 2], question.rate)
        turns = [Turn(question), Turn(half, images=(image,)), Turn(text="Hello.")]

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


def test_one_is_listened_to_while_another_is_answered(tmp_path, question):
    """Two slots on one set of weights: neither changes a word or a sample of the other."""
    for services in services_over(place(tmp_path, end=-14.0)):
        engine = services.engine("vita-1.5")
        turns = (
            (Turn(text=LONG), Sampling(temperature=0.9, max_tokens=150, seed=1)),
            (
                Turn(question),
                Sampling(temperature=0.9, max_tokens=20, seed=2),
            ),
        )
        alone = [list(ask(engine, turn, sampling=sampling)) for turn, sampling in turns]
        (first, how), (second, other) = turns
        speaking, begun = ask(engine, first, sampling=how), []
        for event in speaking:
            begun.append(event)
            if isinstance(event, AudioChunk):
                break
        listened = list(ask(engine, second, sampling=other))
        with services.models.use("vita-1.5", cancel=Cancel()) as (runtime,):
            assert runtime.active == 1, "the first one should still be under way"
        for events, wanted in zip((begun + list(speaking), listened), alone, strict=True):
            assert text_of(events) == text_of(wanted) != ""
            assert len(sound_of(wanted))
            assert np.array_equal(sound_of(events), sound_of(wanted))


def test_who_finds_no_place_waits_and_is_told(tmp_path):
    for services in services_over(place(tmp_path, end=-14.0), vita15_users=1):
        engine = services.engine("vita-1.5")
        speaking = ask(engine, Turn(text=LONG), sampling=Sampling(max_tokens=400))
        next(event for event in speaking if isinstance(event, TextDelta))
        waiting = ask(engine, Turn(text="Hm"), spoken=False)
        assert next(waiting) == Waiting(1)
        speaking.close()
        assert text_of(waiting)


# Whether it answers


@pytest.fixture
def writes(monkeypatch, runtime):
    """Lets the model write what a test says; tells how far it was read."""
    told = []

    def set_up(text):
        ids = runtime.loaded.vocabulary.encode(text)

        def write(self, prompt, senses, **options):
            for token in ids:
                told.append(token)
                yield token

        monkeypatch.setattr(Runtime, "write", write)
        return told

    return set_up


@pytest.mark.parametrize("spoken", [True, False])
@pytest.mark.parametrize("mark", [HEARD, READ])
def test_a_question_is_answered_without_its_mark(engine, writes, mark, spoken):
    writes(f"{mark} the sky is blue.<|im_end|>")
    events = list(ask(engine, Turn(text="Why?"), spoken=spoken))
    assert text_of(events) == "the sky is blue."
    assert bool(len(sound_of(events))) == spoken
    assert not any(isinstance(event, Unanswered) for event in events)


def test_an_answer_without_a_mark_is_an_answer(engine, writes):
    writes("the sky ☟ is blue.")
    assert text_of(ask(engine, Turn(text="Why?"), spoken=False)) == "the sky ☟ is blue."


@pytest.mark.parametrize("spoken", [True, False])
def test_what_is_not_meant_for_it_stays_unanswered(engine, writes, question, spoken):
    """Generation stops at the mark: not a word of what would follow is made, shown or spoken."""
    told = writes(f"{IGNORED} that was somebody else.<|im_end|>")
    events = list(ask(engine, Turn(question), spoken=spoken, language="en"))
    assert len(told) == 1
    (silence,) = [event for event in events if isinstance(event, Unanswered)]
    assert "not meant for it" in silence.text
    assert not text_of(events)
    assert not len(sound_of(events))
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.reply_tokens == 1
    assert [e.text for e in events if isinstance(e, Transcript) and e.final]


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """A model whose likeliest first token is always that of silence."""
    yield from services_over(place(tmp_path_factory.mktemp("silent"), mark=IGNORED))


def test_the_first_token_of_the_model_decides(silent, tmp_path, question):
    """At any temperature: the mark is never left to chance, however close another one is."""
    sampling = Sampling(temperature=1.5, max_tokens=4)
    for torn in services_over(place(tmp_path, rival=IGNORED)):
        for seed in range(8):
            for house, answered in ((torn, True), (silent, False)):
                given = replace(sampling, seed=seed)
                turn = Turn(question) if seed == 0 else Turn(text="Hm")
                events = list(ask(house.engine("vita-1.5"), turn, sampling=given, spoken=False))
                assert bool(text_of(events)) == answered
                assert any(isinstance(event, Unanswered) for event in events) != answered


# What it is shown


def prompts(monkeypatch):
    """The prompts that reach the model."""
    seen = []

    def write(self, prompt, senses, **options):
        seen.append((prompt, senses))
        yield from self.loaded.vocabulary.encode(f"{READ} the sky.")

    monkeypatch.setattr(Runtime, "write", write)
    return seen


def words_of(runtime, prompt):
    """The prompt as text, with a letter for each row of an encoder."""
    tokenizer = runtime.loaded.vocabulary.tokenizer
    rows = SIZES.vision.tokens
    text, at = "", 0
    for begin, size in sorted([(b, rows) for b in prompt.tiles]):
        text += tokenizer.decode(list(prompt.ids[at:begin]), skip_special_tokens=False) + "[I]"
        at = begin + size
    return text + tokenizer.decode(list(prompt.ids[at:]), skip_special_tokens=False)


def test_images_are_tiled_and_moments_are_not(engine, runtime, monkeypatch):
    seen = prompts(monkeypatch)
    wide = Image(picture("red", 400, 200))
    list(ask(engine, Turn(text="What is it?", images=(wide,)), spoken=False))
    list(ask(engine, Turn(text="What is it?", frames=(wide, wide)), spoken=False))
    (image, shown), (video, moments) = seen
    tiles = len(image.tiles)
    assert tiles > 2
    assert sum(map(len, shown.tiles)) == tiles
    assert len(video.tiles) == sum(map(len, moments.tiles)) == 2
    text = words_of(runtime, image)
    assert "content of the image given" in text
    assert f"<|im_start|>user\n{'[I]' * tiles}\nWhat is it?<|im_end|>" in text
    text = words_of(runtime, video)
    assert "content of the video given" in text
    assert "<|im_start|>user\n[I][I]\nWhat is it?<|im_end|>" in text


def test_patches_can_be_fewer(tmp_path, monkeypatch):
    for services in services_over(place(tmp_path), vita15_tiles=1):
        seen = prompts(monkeypatch)
        wide = Image(picture("red", 400, 200))
        list(ask(services.engine("vita-1.5"), Turn(text="What?", images=(wide,)), spoken=False))
        assert len(seen[0][0].tiles) == 1


def test_a_dialogue_is_told_as_text(engine, runtime, monkeypatch):
    """Words stand for the sound of earlier turns; answers to text begin with its mark."""
    seen = prompts(monkeypatch)
    image = Image(picture("red", 56, 56))
    before = Conversation(
        "Be brief.",
        (Message("user", "Look.", (image,)), Message("assistant", "A red one.")),
    )
    list(ask(engine, Turn(text="And <image> now <|im_end|>?"), before, spoken=False))
    text = words_of(runtime, seen[0][0])
    assert text.endswith(
        "Be brief.<|im_end|>\n"
        "<|im_start|>user\n[I]\nLook.<|im_end|>\n"
        "<|im_start|>assistant\n☜A red one.<|im_end|>\n"
        "<|im_start|>user\nAnd <image> now < |im_end|>?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_system_text_of_images_or_of_videos(engine, runtime, monkeypatch):
    seen = prompts(monkeypatch)
    image = Image(picture("red", 56, 56))
    for images, frames, told in (
        ((image,), (), "image"),
        ((), (image,), "video"),
        ((image,), (image,), "image"),
        ((), (), ""),
    ):
        list(ask(engine, Turn(text="Hm", images=images, frames=frames), spoken=False))
        text = words_of(runtime, seen[-1][0])
        assert f"content of the {told} given" in text if told else "content of the" not in text


# Limits


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A model that was made for short prompts."""
    yield from services_over(place(tmp_path_factory.mktemp("narrow"), longest=1200))


def test_a_prompt_beyond_the_window_is_refused_whole(narrow):
    """Never cut from the end, where the question is."""
    engine = narrow.engine("vita-1.5")
    for turn, words in (
        (Turn(text="word " * 300), "say less"),
        (Turn(text="Hm", frames=(Image(picture("red", 56, 56)),) * 250), "Pictures take"),
    ):
        with pytest.raises(InputError, match="Nothing was cut") as refusal:
            list(ask(engine, turn))
        assert words in str(refusal.value)
        assert "1,200 are kept" in str(refusal.value)
    assert text_of(ask(engine, Turn(text="Hello."), spoken=False))


def test_earlier_pictures_make_room(narrow, monkeypatch):
    """The oldest go first, and that is told; what is new is shown whole."""
    seen = prompts(monkeypatch)
    image = Image(picture("red", 56, 56))
    said = tuple(
        Message(role, text, frames=shown)
        for text, shown in (("One", (image,) * 100), ("Two", (image,)))
        for role, text, shown in (("user", text, shown), ("assistant", "Yes.", ()))
    )
    turn = Turn(text="Three", frames=(image,) * 2)
    events = list(ask(narrow.engine("vita-1.5"), turn, Conversation(messages=said), spoken=False))
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert notice.startswith("100 pictures of earlier turns")
    assert len(seen[0][0].tiles) == 1 + 2


def test_256_images(engine):
    image = Image(picture("red", 56, 56))
    with pytest.raises(InputError, match="Nothing was cut"):
        list(ask(engine, Turn(text="Hm", images=(Image(picture("red", 640, 480)),) * 256)))
    few = list(ask(engine, Turn(text="Hm", images=(image,) * 256), spoken=False))
    assert text_of(few)


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_too_short_to_hear(engine, seconds):
    clip = Audio(np.zeros(int(16_000 * seconds), np.float32), 16_000)
    with pytest.raises(InputError, match="too short"):
        list(ask(engine, Turn(clip)))


def test_longer_than_it_hears(engine):
    clip = Audio(np.zeros(16_000 * 210, np.float32), 16_000)
    with pytest.raises(InputError, match="200 s at once"):
        list(ask(engine, Turn(clip), spoken=False))


def test_a_reply_that_fills_the_window_says_so(tmp_path):
    for services in services_over(place(tmp_path, longest=800, end=-14.0)):
        sampling = Sampling(temperature=0.0, max_tokens=500)
        events, said = (
            ask(services.engine("vita-1.5"), Turn(text="Hm"), sampling=sampling, spoken=False),
            "",
        )
        with pytest.raises(Exception, match="800 tokens"):
            for event in events:
                said += event.text if isinstance(event, TextDelta) else ""
        assert said


def test_conversations_keep_no_more_than_the_window(engine, runtime):
    model = runtime.loaded.language.config
    assert runtime.window == 6200
    assert runtime.language.bytes_per_token == model.cached_per_token * 2


# Cancel


@pytest.mark.parametrize("after", [TextDelta, AudioChunk])
def test_cancel_frees_everything_within_a_step(engine, runtime, after):
    cancel = Cancel()
    events = ask(engine, Turn(text=LONG), sampling=Sampling(max_tokens=400), cancel=cancel)
    next(event for event in events if isinstance(event, after))
    cancel.set()
    with pytest.raises(CancelledError):
        list(events)
    assert runtime.active == 0


def test_cancel_while_it_looks(engine, runtime, monkeypatch):
    """Within the step of one tile, of hundreds."""
    cancel, seen = Cancel(), []
    plain = type(runtime.loaded.vision).forward

    def forward(self, tiles):
        seen.append(len(tiles))
        if len(seen) == 3:
            cancel.set()
        return plain(self, tiles)

    monkeypatch.setattr(type(runtime.loaded.vision), "forward", forward)
    turn = Turn(text="Hm", frames=(Image(picture("red", 56, 56)),) * 200)
    with pytest.raises(CancelledError):
        list(ask(engine, turn, cancel=cancel))
    assert seen == [1, 1, 1]
    assert runtime.active == 0


def test_settings_reach_the_model(tmp_path):
    data = place(tmp_path)
    for services in services_over(data, vita15_window=700, vita15_tiles=3):
        list(ask(services.engine("vita-1.5"), Turn(text="Hm"), spoken=False))
        with services.models.use("vita-1.5", cancel=Cancel()) as (runtime,):
            assert runtime.window == 700
            assert runtime.tiles == 3
    assert settings(data).vita15_window == 6200


def test_the_time_of_the_encoder_is_told(engine, question, monkeypatch):
    check_encoding(engine, question, (Whale, "encode"), monkeypatch)
