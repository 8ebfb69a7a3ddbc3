"""What engines do on a GPU is what they do on a CPU. Where there is no GPU, it is pretended."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import vita15_house
import vita_house
from codec_golden import DECODER, TOKENIZER
from engine_contract import sound_of, text_of
from opens2s_house import place as place_opens2s
from opens2s_house import settings as opens2s_settings
from pretended_gpu import PretendedGpu, gpu_fixture, pretended_gpu  # noqa: F401  (a fixture)
from pretended_graphs import GpuError
from seeing_engine import picture
from test_engine_higgs import opened as opened_higgs
from test_engine_higgs import put as put_higgs
from vita15_checkpoint import SIZES as VITA15_SIZES
from vita15_checkpoint import place as place_vita15
from vita_golden import LM, load
from vita_house import data_fixture  # noqa: F401  (a fixture)

from codec.decoder import SpeechDecoder
from codec.graphs import Pool, capture
from codec.speech_tokenizer import SpeechTokenizer
from codec.voice import Voice
from engines.base import Cancel
from engines.images import Image
from engines.messages import Conversation, Sampling, Turn
from engines.native.sampling import Drawing, Sampler
from engines.vita import layout as vita15_layout
from engines.vita_audio.fast import FastDecoding
from engines.vita_audio.products import Product
from engines.vita_audio.schedule import BOOST, VANILLA
from engines.vita_audio.seat import Seat
from services import Services


def answers(settings, name, turns):
    """What an engine answers to turns, and where its models were."""
    with Services(settings) as services:
        engine = services.engine(name)
        made = []
        for turn in turns:
            sampling = Sampling(temperature=0.8, max_tokens=24, seed=3)
            events = list(engine.converse(turn, Conversation(), sampling=sampling, cancel=Cancel()))
            made.append((text_of(events), sound_of(events)))
        status = services.models.status()
        return made, {model.device for model in status if model.state == "ready"}


def same(gpu, settings, name, turns):
    there, devices = answers(settings.model_copy(update={"device": "cuda"}), name, turns)
    assert devices == {gpu.device}
    here, devices = answers(settings, name, turns)
    assert devices == {"cpu"}
    assert all(text for text, _ in there)
    assert any(len(sound) for _, sound in there)
    if isinstance(gpu, PretendedGpu):  # A real one rounds in its own way, which changes tokens.
        for (text, sound), (wanted, heard) in zip(there, here, strict=True):
            assert text == wanted
            np.testing.assert_allclose(sound, heard, atol=5e-3)


def test_opens2s(gpu, tmp_path, question):
    settings = opens2s_settings(place_opens2s(tmp_path))
    same(gpu, settings, "opens2s", [Turn(question)])


@pytest.mark.parametrize("name", vita_house.BOTH)
def test_vita_audio(gpu, data, name, question, monkeypatch):
    loading = Product.loading

    def precise(*args):
        """In bfloat16 a place with room to spare rounds otherwise than one without."""
        return replace(loading(*args), dtype=torch.float32)

    monkeypatch.setattr(Product, "loading", precise)
    same(gpu, vita_house.settings(data), name, [Turn(question), Turn(text="Hello.")])


def test_vita15(gpu, monkeypatch, tmp_path, question):
    monkeypatch.setattr(vita15_layout, "PUBLISHED", VITA15_SIZES)
    image = Image(picture("red", 256, 256))
    turns = [Turn(question), Turn(text="Look.", images=(image,))]
    same(gpu, vita15_house.settings(place_vita15(tmp_path)), vita15_house.NAME, turns)


def test_higgs(gpu, tmp_path):
    """Which is in bfloat16 there, so it says other codes than on a CPU."""
    put_higgs(tmp_path)
    with opened_higgs(tmp_path, device="cuda") as services:
        for voice in (None, services.voices.library.get("Rowan")):
            said = services.speak("Hello there.", voice, engine="higgs", seed=3, cancel=Cancel())
            assert len(sound_of(said)) > 960
        (device,) = (m.device for m in services.models.status() if m.state == "ready")
    assert device == gpu.device


def test_a_voice_is_heard_and_followed(gpu, question):
    """Codes of a clip, and speech from them in its voice."""
    here, there = (SpeechTokenizer.load(TOKENIZER, device=name) for name in ("cpu", gpu.device))
    codes = here.encode(question.samples, question.rate)
    assert np.array_equal(there.encode(question.samples, question.rate), codes)
    made = []
    for device in ("cpu", gpu.device):
        decoder = SpeechDecoder.load(DECODER, device=device)
        config = decoder.models.config.flow
        numbers = np.random.default_rng(0)
        voice = Voice(
            codes=numbers.integers(0, config.vocabulary, 20),
            mel=numbers.standard_normal((config.mels, 80), np.float32),
            embedding=numbers.standard_normal(config.speaker_width, np.float32),
        )
        made.append(decoder.decode(numbers.integers(0, config.vocabulary, 30), voice).samples)
    np.testing.assert_allclose(made[1], made[0], atol=5e-3)


@pytest.mark.parametrize(
    ("schedule", "waits"), [(VANILLA, 60), (BOOST, 22)], ids=["vanilla", "boost"]
)
def test_the_host_waits_once_for_a_run(schedule, waits):
    """Whatever else it asked of the GPU would stall every step by as much again."""
    prompt = LM.arrays()["input/prompt0/input_ids"].tolist()
    with pretended_gpu() as gpu, torch.inference_mode():
        model = load(LM, device=gpu.device)
        sampler = Sampler(
            Drawing(temperature=0.9), vocabulary=600, prompt=prompt, seed=1, device=gpu.device
        )
        seat = Seat(model, 256)
        decoding = FastDecoding(model, prompt, sampler=sampler, schedule=schedule, seat=seat)
        before = gpu.waits
        while decoding.made < 60:
            decoding.step()
        assert gpu.waits - before == waits
        assert gpu.replays > waits / 2


class TestThePretence:
    """What a real GPU refuses, or does wrong without a word."""

    @pytest.fixture(autouse=True)
    def _pretend(self):
        with pretended_gpu() as gpu, torch.inference_mode():
            self.device = torch.device(gpu.device)
            self.gpu = gpu
            yield

    def test_devices_are_not_mixed(self):
        there = torch.ones(3, device=self.device)
        with pytest.raises(GpuError, match="one of the CPU"):
            there + torch.ones(3)
        with pytest.raises(GpuError, match="one of the CPU"):
            there[torch.tensor([0, 1])] = torch.ones(2)
        assert (there + torch.tensor(1.0)).tolist() == [2, 2, 2]

    def test_generators_have_a_device(self):
        there = torch.ones(3, device=self.device)
        there.exponential_(generator=torch.Generator(self.device))
        with pytest.raises(GpuError, match="generator of another device"):
            there.exponential_(generator=torch.Generator())

    def test_waiting_is_counted(self):
        there = torch.arange(3, device=self.device)
        assert int(there[1]) == 1
        assert there.cpu().tolist() == [0, 1, 2]
        assert self.gpu.waits == 2

    @pytest.mark.parametrize(
        ("work", "why"),
        [
            (lambda x: x * float(x[0]), "waits"),
            (lambda x: x[x > 0], "waits"),
            (lambda x: x.cpu(), "host"),
            (lambda x: x + torch.zeros(3).to(x.device), "host"),
            (lambda x: x * torch.tensor(2.0), "host"),
            (lambda x: x.exponential_(), "random"),
        ],
    )
    def test_captures_are_of_the_gpu_alone(self, work, why, monkeypatch):
        x = torch.ones(3, device=self.device)
        with pytest.raises(GpuError, match=why):
            capture(lambda: work(x), self.device, Pool())

    def test_graphs_work_on_the_same_memory(self):
        x = torch.ones(3, device=self.device)
        total = torch.zeros(3, device=self.device)
        seen = []

        def work():
            seen.append(True)
            total.add_(x)
            return total[1:] * 2

        graph, out = capture(work, self.device, Pool())
        calls = len(seen)
        assert total.tolist() == [calls - 1] * 3  # Nothing is computed within a capture.
        assert np.isnan(out.tolist()).all()
        x.fill_(10)
        graph.replay()
        assert out.tolist() == [2 * (calls + 9)] * 2
        assert len(seen) == calls

    def test_graphs_of_a_pool_overwrite_what_others_gave(self):
        x, pool = torch.ones(3, device=self.device), Pool()
        one, ones = capture(lambda: x + 1, self.device, pool)
        two, twos = capture(lambda: x + 2, self.device, pool)
        one.replay()
        assert ones.tolist() == [2] * 3
        two.replay()
        assert twos.tolist() == [3] * 3
        assert np.isnan(ones.tolist()).all()
