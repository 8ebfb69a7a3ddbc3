"""VITA-Audio keeps the contract, with random weights in the published layout."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT, SAMPLES
from engine_contract import LONG, EngineContract, sound_of, text_of
from gradio_client import Client, handle_file
from vita_checkpoint import CODES, SMALL, place

from engines.base import (
    AudioChunk,
    Cancel,
    Conversation,
    Finished,
    Reference,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
)
from engines.vita_audio import layout
from engines.vita_audio.interleaving import Interleaving
from engines.vita_audio.products import PRODUCTS
from engines.vita_audio.runtime import VitaAudio
from engines.vita_audio.schedule import BOOST, VANILLA
from errors import CancelledError, EngineError, InputError, UnavailableError
from services import Services
from settings import Settings
from speech.pcm import Audio, silence

BOTH = ("vita-audio-boost", "vita-audio-plus-boost")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small weights, where the engines look for the published ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, sizes in SMALL.items():
            patch.setitem(layout.PUBLISHED, name, sizes)
        patch.setattr(layout, "CODES", CODES)
        yield place(tmp_path_factory.mktemp("data"))


def settings(data, **options):
    given = {"warm": False, "idle_unload": 0, "memory_budget": 10**12, "max_active": 8} | options
    return Settings(_env_file=None, port=0, offline=True, device="cpu", data=data, **given)


@pytest.fixture(scope="module")
def services(data):
    with Services(settings(data)) as services:
        for name in BOTH:  # So that no test is the one that starts the model's thread.
            list(ask(services.engine(name), Turn(text="Hello."), spoken=False))
        yield services


def ask(engine, turn, conversation=Conversation(), **options):
    options.setdefault("sampling", Sampling(temperature=0.0, max_tokens=20, seed=1))
    options.setdefault("cancel", Cancel())
    return engine.converse(turn, conversation, **options)


def final_of(events):
    (final,) = [event for event in events if isinstance(event, Transcript) and event.final]
    return final


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


# Through the command line and the API

#: `app.py` with the sizes of the small checkpoints in the place of the published ones.
APP = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
import vita_checkpoint
from engines.vita_audio import layout
layout.PUBLISHED.update(vita_checkpoint.SMALL)
layout.CODES = vita_checkpoint.CODES
import app
sys.exit(app.main())
"""


def command(data, *arguments):
    options = ("--engine", "vita-audio-boost", "--data", data, "--offline", "--device", "cpu")
    budget = ("--memory-budget", 10**12, "--threads", 1)
    script = APP.format(root=str(ROOT))
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, (*options, *budget, *arguments))],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_command_line(data, tmp_path):
    heard = command(data, "transcribe", SAMPLES / "sky.wav")
    assert heard.returncode == 0, heard.stderr
    assert heard.stdout.strip()
    asked = command(data, "ask", SAMPLES / "sky.wav", "-o", tmp_path / "reply.wav")
    assert asked.returncode == 0, asked.stderr
    assert soundfile.info(tmp_path / "reply.wav").samplerate == 22_050


def test_api(data):
    from demos.page import launch  # noqa: PLC0415

    clip = handle_file(SAMPLES / "sky.wav")
    with Services(settings(data, engine="vita-audio-plus-boost")) as services:
        page = launch(services, block=False)
        try:
            client = Client(page.local_url, verbose=False)
            assert client.predict(clip, api_name="/transcribe")
            question, reply, sound = client.predict(clip, api_name="/ask")
            assert question and reply
            assert soundfile.info(sound).samplerate == 22_050
            spoken = client.predict("Good morning.", api_name="/speak")
            assert soundfile.info(spoken).duration > 0.1
        finally:
            page.close()


# Wrong weights


def fails(data, *words, name="vita-audio-boost"):
    with Services(settings(data)) as services, pytest.raises(UnavailableError) as caught:
        list(ask(services.engine(name), Turn(text="Hello."), spoken=False))
    for word in words:
        assert word in str(caught.value), caught.value


@pytest.fixture
def copy(data, tmp_path):
    """A data folder of its own, whose weights may be damaged."""
    import shutil  # noqa: PLC0415

    return shutil.copytree(data, tmp_path / "data")


def test_the_checkpoint_of_another_engine(copy):
    weights = copy / "weights"
    for name in SMALL:
        (weights / name).rename(weights / f"{name}-")
    (weights / "VITA-Audio-Boost-").rename(weights / "VITA-Audio-Plus-Boost")
    (weights / "VITA-Audio-Plus-Boost-").rename(weights / "VITA-Audio-Boost")
    fails(copy, "hears embeddings", "VITA-Audio-Boost hears codes")
    fails(copy, "hears codes", "Plus-Boost hears embeddings", name="vita-audio-plus-boost")


def test_sizes_that_are_not_those_of_the_checkpoint(copy):
    path = copy / "weights" / "VITA-Audio-Boost" / "config.json"
    told = json.loads(path.read_text()) | {"num_nextn_predict_layers": 2, "num_hidden_layers": 4}
    path.write_text(json.dumps(told))
    fails(copy, "config.json", "heads is 2", "VITA-Audio-Boost has 3")


@pytest.mark.parametrize("change", ["lacks", "has", "is"])
def test_tensors_that_are_not_those_of_the_checkpoint(copy, change):
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    path = copy / "weights" / "VITA-Audio-Boost" / "model.safetensors"
    tensors = load_file(path)
    if change == "lacks":
        del tensors["mtp_projs.1.weight"]
    elif change == "has":
        tensors["model.visual.weight"] = torch.zeros(1)
    else:
        tensors["mtp_projs.1.weight"] = torch.zeros(64, 64)
    save_file(tensors, path)
    name = "model.visual.weight" if change == "has" else "mtp_projs.1.weight"
    fails(copy, change, name, "VITA-Audio-Boost")


def test_tokenizer_of_another_model(copy):
    weights = copy / "weights"
    other = weights / "VITA-Audio-Plus-Boost" / "tokenizer.json"
    (weights / "VITA-Audio-Boost" / "tokenizer.json").write_bytes(other.read_bytes())
    fails(copy, "tokenizer.json", "VITA-Audio-Plus")


def test_normalisation_that_is_not_there(copy):
    (copy / "weights" / "SenseVoiceSmall" / "am.mvn").unlink()
    fails(copy, "am.mvn", "offline", name="vita-audio-plus-boost")


def test_memory_is_looked_at_before_anything_is_read(data, monkeypatch):
    from engines.vita_audio import runtime  # noqa: PLC0415

    monkeypatch.setattr(runtime.psutil, "virtual_memory", lambda: type("M", (), {"available": 10}))
    monkeypatch.setattr(runtime, "load_language_model", lambda *_, **__: pytest.fail("was read"))
    fails(data, "needs", "GB", "are free", "PARLEY_VITA_PRECISION")
