"""Higgs Audio as an engine: the contract, and its way from a folder to the listener."""

import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from engine_contract import EngineContract, sound_of
from higgs_checkpoint import folders, make_codec

from engines.base import Cancel, Models, Wishes
from engines.catalog import CATALOG
from engines.higgs import part
from engines.messages import AudioChunk
from errors import InputError, UnavailableError
from model_spec import LoadReport
from services import Services
from settings import Settings

(ENTRY,) = (entry for entry in CATALOG if entry.info.name == "higgs")


def put(data, *, without=()):
    """Lay the tiny checkpoints where the store looks for the published ones."""
    for made, snapshot in zip(folders(), (part.MODEL, part.CODEC), strict=True):
        if snapshot not in without:
            shutil.copytree(made, data / "weights" / snapshot.name)


@contextmanager
def opened(data, **options):
    options = {"agree": "higgs", "offline": True, "device": "cpu", **options}
    # Of memory, as if there were enough for the published weights.
    options = {"memory_budget": 40_000_000_000, **options}
    settings = Settings(_env_file=None, port=0, warm=False, idle_unload=0, data=data, **options)
    with Services(settings) as made:
        yield made


class Beside(Models):
    """The models of the other tests, and the tiny Higgs Audio among them."""

    def __init__(self, models, higgs):
        self.models = models
        self.higgs = higgs

    @contextmanager
    def use(self, *names, cancel):
        others = [name for name in names if name != part.NAME]
        with self.models.use(*others, cancel=cancel) as borrowed:
            found = dict(zip(others, borrowed, strict=True)) | {part.NAME: self.higgs}
            yield tuple(found[name] for name in names)


@pytest.fixture(scope="module")
def higgs(tmp_path_factory):
    # Random codes sound like noise, which has steps everywhere: it is so soft that they stay
    # below what the contract takes for a click. Seams have tests of their own.
    codec = make_codec(tmp_path_factory.mktemp("soft"), level=0.004)
    made = part.assemble(folders()[0], codec, "cpu", LoadReport())
    # Its thread stays for good, and the contract counts threads.
    made.steps.call(lambda: None, cancel=Cancel())
    yield made
    made.close()


class TestHiggs(EngineContract):
    @pytest.fixture
    def engine(self, services, higgs):
        return ENTRY.build(Beside(services.models, higgs))

    def test_speech_can_be_understood(self):
        pytest.skip("random weights make no words; test_higgs_speech compares the sound")

    def test_a_reference_changes_the_voice_and_nothing_else(
        self, services, engine, reference, monkeypatch
    ):
        # Random weights resemble nobody: all but how near they come is tested.
        near = iter((0.0, 1.0))
        monkeypatch.setattr(services.voices, "similarity", lambda *_, **__: next(near))
        super().test_a_reference_changes_the_voice_and_nothing_else(services, engine, reference)


def test_a_style_can_be_wished_for(services, higgs, monkeypatch):
    rooms = []
    write = higgs.model.prompter.prompt

    def prompt(scene, said, text):
        rooms.append(scene.room)
        return write(scene, said, text)

    monkeypatch.setattr(higgs.model.prompter, "prompt", prompt)
    engine = ENTRY.build(Beside(services.models, higgs))
    whispering = engine.adapted(Wishes(style="The speaker whispers."))
    list(whispering.speak("Hello.", seed=1, cancel=Cancel()))
    assert rooms[0].endswith("The speaker whispers.")


def test_from_the_folder_to_the_listener(tmp_path):
    """Loaded by the holder, off the files that the store finds, and unloaded again."""
    put(tmp_path)
    with opened(tmp_path) as services:
        events = list(services.speak("Hello there.", engine="higgs", seed=3, cancel=Cancel()))
        assert len(sound_of(events)) > 960
        (status,) = (s for s in services.models.status() if s.name == part.NAME)
        assert status.state == "ready"
        assert status.memory < 2_500_000_000
        dialogue = "[SPEAKER0] Hello.\n[SPEAKER1] Hello to you."
        said = [
            event.text
            for event in services.speak(dialogue, engine="higgs", seed=3, cancel=Cancel())
            if isinstance(event, AudioChunk) and event.text
        ]
        assert [text.strip() for text in said] == ["SPEAKER0 Hello.", "SPEAKER1 Hello to you."]


def test_a_speaker_there_is_not_is_told(tmp_path):
    put(tmp_path)
    with opened(tmp_path) as services, pytest.raises(InputError, match="up to 4 speakers"):
        list(services.speak("[SPEAKER7] Hello.", engine="higgs", seed=3, cancel=Cancel()))


@pytest.mark.parametrize("absent", [part.MODEL, part.CODEC], ids=["model", "codec"])
def test_what_is_absent_is_named(tmp_path, absent):
    put(tmp_path, without=[absent])
    with opened(tmp_path) as services, pytest.raises(UnavailableError, match=absent.name):
        list(services.speak("Hello.", engine="higgs", cancel=Cancel()))


def test_a_damaged_codec_is_named_before_the_model_is_read(tmp_path):
    put(tmp_path)
    (tmp_path / "weights" / part.CODEC.name / "config.json").write_text("{}")
    with opened(tmp_path) as services, pytest.raises(UnavailableError, match=part.CODEC.name):
        list(services.speak("Hello.", engine="higgs", cancel=Cancel()))


def test_the_licence_is_agreed_to_first(tmp_path):
    put(tmp_path)
    with opened(tmp_path, agree="") as services, pytest.raises(UnavailableError, match="Boson"):
        list(services.speak("Hello.", engine="higgs", cancel=Cancel()))


def test_what_it_needs_is_told_by_the_published_sizes(tmp_path):
    with opened(tmp_path, memory_budget=16_000_000_000) as services:
        fit = services.desk.status("higgs").fit
    assert not fit.ok
    (spec,) = part.specs(Settings(_env_file=None, device="cpu"), services.store)
    assert spec.memory > 20_000_000_000
    assert np.isclose(ENTRY.requires.download, 13.7e9, rtol=0.05)


def test_other_scripts_are_spoken(services, higgs):
    engine = ENTRY.build(Beside(services.models, higgs))
    events = list(engine.speak("你好，今天天气很好。", seed=1, cancel=Cancel()))
    assert (
        "".join(e.text for e in events if isinstance(e, AudioChunk)).strip()
        == "你好，今天天气很好。"
    )
