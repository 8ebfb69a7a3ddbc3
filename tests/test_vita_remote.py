"""VITA-Audio's language model elsewhere stands in the place of the one here."""

import base64
import inspect
import io
from contextlib import suppress

import numpy as np
import pytest
import torch
from codec_golden import folders
from engine_contract import sound_of, text_of
from pydantic import ValidationError
from vita_checkpoint import CODES, SMALL, place
from vllm_stand_in import stand_in_fixture  # noqa: F401  (a fixture)

from engines.base import Cancel
from engines.messages import Conversation, Notice, Sampling, Turn
from engines.native.sampling import Drawing
from engines.remote.address import Remote
from engines.vita_audio import layout
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.generation import Generation, WindowFullError
from engines.vita_audio.remote import RemoteGeneration
from engines.vita_audio.schedule import BOOST
from engines.vllm.client import TokenServer
from errors import InputError
from services import Services
from settings import Settings
from speech.pcm import Audio

DEAD = "http://127.0.0.1:9/v1"  # Nobody listens at the port for discarding.


def golden(name):
    (folder,) = [folder for folder in folders("mtp_lm") if folder.path.name == name]
    return folder


@pytest.fixture(name="remote")
def remote_fixture(stand_in):
    folder = golden("mtp_lm_sensevoice").checkpoint
    server = TokenServer(Remote((f"{stand_in.url}/v1",)))
    yield RemoteGeneration(server, folder, LanguageConfig.read(folder), window=500)
    server.close()


def test_it_is_asked_like_the_one_here():
    here, there = (inspect.signature(kind.generate) for kind in (Generation, RemoteGeneration))
    assert here == there


def test_tokens_and_how_they_are_drawn(remote, stand_in):
    drawing = Drawing(0.7, 20, 0.8, 1.05)
    tokens = remote.generate([1, 2, 3], drawing=drawing, seed=4, stop=(10,), cancel=Cancel())
    assert list(tokens) == [7, 8, 9, 10]
    (asked,) = stand_in.requests
    assert (asked["prompt"], asked["seed"], asked["stop_token_ids"]) == ([1, 2, 3], 4, [10])
    assert (asked["temperature"], asked["top_k"], asked["top_p"]) == (0.7, 20, 0.8)
    assert asked["repetition_penalty"] == 1.05
    assert asked["max_tokens"] == 497


def test_what_was_heard_goes_in_as_vectors_without_a_penalty(remote, stand_in):
    data = golden("mtp_lm_sensevoice").arrays()
    ids = data["one_audio/input_ids"]
    rows = remote.model.embed(ids)[0].float()
    places = data["one_audio/audio_indices_0"][1, 0]
    rows[places] = data["one_audio/audio_embeds"][0, : len(places)]
    torch.testing.assert_close(rows, data["one_audio/prefill_inputs_embeds"])
    drawing = Drawing(repetition_penalty=1.05)
    reply = remote.generate(
        ids.tolist(), embeddings=rows, drawing=drawing, stop=(10,), cancel=Cancel()
    )
    assert list(reply) == [7, 8, 9, 10]
    (asked,) = stand_in.requests
    sent = io.BytesIO(base64.b64decode(asked["prompt_embeds"]))
    assert torch.equal(torch.load(sent, weights_only=True), rows)
    assert asked["repetition_penalty"] == 1


def test_ids_beyond_the_vocabulary(remote):
    with pytest.raises(InputError, match="there is no 560"):
        remote.model.embed(torch.tensor([1, 560]))


def test_heads_are_not_served(remote):
    with pytest.raises(InputError, match="no prediction heads"):
        list(remote.generate([1], mode=BOOST, cancel=Cancel()))


@pytest.mark.parametrize("longest", [12, None])
def test_the_window_is_the_servers_or_ours(remote, stand_in, longest):
    stand_in.longest = longest
    prompt = list(range(8)) if longest else list(range(496))
    got = []
    with pytest.raises(WindowFullError):
        for token in remote.generate(prompt, cancel=Cancel()):
            got.append(token)
    assert got == [7, 8, 9, 10]
    assert stand_in.requests[0]["max_tokens"] == 4
    with pytest.raises(InputError, match="tokens long"):
        list(remote.generate([1] * 500, cancel=Cancel()))


@pytest.fixture(scope="module", name="data")
def data_fixture(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, sizes in SMALL.items():
            patch.setitem(layout.PUBLISHED, name, sizes)
        patch.setattr(layout, "CODES", CODES)
        yield place(tmp_path_factory.mktemp("data"))


def options(data, **more):
    return Settings(
        _env_file=None, offline=True, device="cpu", data=data, warm=False, memory_budget=10**12
    ).model_copy(update=more)


@pytest.mark.parametrize("name", ["vita-audio-boost", "vita-audio-plus-boost"])
def test_the_engine_speaks_as_with_the_model_here(data, stand_in, story, name):
    """The server writes with the same weights, so the replies are the same to the sample."""

    def ask(services, turn):
        events = services.converse(
            turn,
            Conversation(),
            engine=name,
            sampling=Sampling(temperature=0.0, max_tokens=16, seed=1),
            cancel=Cancel(),
        )
        return list(events)

    def recognized(services):
        events = []
        with suppress(InputError):  # One of the two makes no words of it.
            events.extend(services.transcribe(spoken.audio, engine=name, cancel=Cancel()))
        return events

    typed, spoken = (
        Turn(text="Good morning."),
        Turn(Audio(story.samples[: 2 * story.rate], story.rate)),
    )
    here = Services(options(data, vita_mode="vanilla"))
    there = Services(options(data, vita_url=f"{DEAD},{stand_in.url}/v1"))
    with here, there, here.models.use(name, cancel=Cancel()) as (vita,):

        def write(asked):
            prompt, rows = asked["prompt"], None
            if prompt is None:
                sent = io.BytesIO(base64.b64decode(asked["prompt_embeds"]))
                rows = torch.load(sent, weights_only=True)
            return vita.language.generate(
                prompt or [0] * len(rows),
                embeddings=rows,
                drawing=Drawing(repetition_penalty=asked["repetition_penalty"]),
                stop=asked["stop_token_ids"],
                max_tokens=asked["max_tokens"],
                cancel=Cancel(),
            )

        stand_in.write = write
        wanted, got = ask(here, typed), ask(there, typed)
        assert text_of(got) == text_of(wanted)
        assert text_of(got) or len(sound_of(got))  # One writes words, the other codes.
        assert np.array_equal(sound_of(got), sound_of(wanted))
        # The first address is dead, which is told once in each reply.
        for events in (got, ask(there, spoken), recognized(there)):
            (told,) = [event.text for event in events if isinstance(event, Notice)]
            assert f"{stand_in.url}/v1 answers instead" in told
    assert any(asked.get("prompt_embeds") for asked in stand_in.requests) == ("plus" in name)


def test_an_address_that_is_none():
    with pytest.raises(ValidationError, match="begins with http"):
        Settings(_env_file=None, vita_url="10.0.0.1:8000")
