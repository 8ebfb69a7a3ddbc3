"""A real vLLM server on the CPU; `make test-vllm` runs this, `make test` does not.

The environment of the server is `.venv-vllm` beside the app's own, or what `PARLEY_VLLM_VENV`
names.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import vita15_checkpoint
import vita15_house
from codec_golden import folders
from conftest import ROOT
from engine_contract import sound_of, text_of
from seeing_engine import picture
from transformers import AutoModelForCausalLM
from vllm_widened import padded, widen

from engines.base import Cancel
from engines.images import Image
from engines.messages import AudioChunk, Conversation, Finished, Sampling, TextDelta, Turn
from engines.remote.address import Remote
from engines.vita import products as vita15
from engines.vllm.client import TokenServer
from engines.vllm.convert import convert, plan
from engines.vllm.vectors import EmbeddingTable, pack
from errors import CancelledError, InputError, UnavailableError
from services import Services
from settings import Settings
from speech.pcm import Audio
from weights import Store

PROGRAMS = Path(os.environ.get("PARLEY_VLLM_VENV") or ROOT / ".venv-vllm") / "bin"

#: For a small machine: a little memory for the cache, no compiler, no padding of batches.
SMALL = ("--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "8")
SURROUNDINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}

#: Seconds until a server answers; it imports torch twice and more.
START = 400


@dataclass(frozen=True)
class Drawing:
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0


@contextmanager
def serving(folder, log, *flags):
    """A server on a model; its process group is ended with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    arguments = ["serve", folder, "--port", port, "--host", "127.0.0.1", *SMALL, *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAMS / "python", ROOT / "tests" / "vllm_command.py", *map(str, arguments)],
            env=os.environ | SURROUNDINGS,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + START
        while not healthy(url):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):  # What it started and left behind.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def healthy(url):
    try:
        return urllib.request.urlopen(f"{url}/health", timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


def golden(name):
    (folder,) = [folder for folder in folders("mtp_lm") if folder.path.name == name]
    return folder


def ids(tensor):
    return [int(number) for number in tensor]


@pytest.fixture(scope="module", name="place")
def place_fixture(tmp_path_factory):
    return tmp_path_factory.mktemp("vllm")


@pytest.fixture(scope="module", name="discrete")
def discrete_fixture(place):
    """VITA-Audio's layout with random weights, without vectors as prompts."""
    folder = place / "tiny"
    convert(plan(widen(golden("mtp_lm").checkpoint, place / "tiny-snapshot")), folder)
    flags = ("--served-model-name", "tiny", "--dtype", "float32", "--skip-tokenizer-init")
    flags += ("--enable-log-requests",)  # A request that was aborted is only told in the log.
    with serving(folder, place / "tiny.log", *flags) as url:
        server = TokenServer(Remote((f"{url}/v1",)), "tiny")
        yield server, url, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        server.close()


def ask(server, prompt, drawing=Drawing(), stop=(), most=120, seed=None, cancel=None):
    return server.generate(
        prompt, drawing=drawing, seed=seed, stop=stop, max_tokens=most, cancel=cancel or Cancel()
    )


@pytest.mark.parametrize("prompt", ["prompt0", "prompt1", "prompt2"])
def test_greedy_ids_are_those_of_the_reference(discrete, prompt):
    data = golden("mtp_lm").arrays()
    wanted = ids(data[f"output/{prompt}/vanilla/new_token_ids"])
    assert list(ask(discrete[0], ids(data[f"input/{prompt}/input_ids"]))) == wanted


def test_a_stop_token_ends_a_reply_and_is_the_last_of_it(discrete):
    data = golden("mtp_lm").arrays()
    wanted = ids(data["output/prompt0/vanilla/new_token_ids"])
    stop = wanted[30]
    reply = list(ask(discrete[0], ids(data["input/prompt0/input_ids"]), stop=(stop, 599)))
    assert reply == wanted[: wanted.index(stop) + 1]


def test_the_repetition_penalty_is_that_of_transformers(discrete):
    server, _, model = discrete
    prompt = golden("mtp_lm").arrays()["input/prompt1/input_ids"]
    wanted = model.generate(
        prompt[None].long(),
        attention_mask=torch.ones_like(prompt[None]),
        max_new_tokens=60,
        do_sample=False,
        repetition_penalty=1.3,
        eos_token_id=None,
    )[0, len(prompt) :]
    reply = list(ask(server, ids(prompt), Drawing(repetition_penalty=1.3), most=60))
    assert reply == ids(wanted)
    assert reply != list(ask(server, ids(prompt), most=60))


def test_a_seed_fixes_what_is_drawn(discrete):
    prompt = ids(golden("mtp_lm").arrays()["input/prompt0/input_ids"])

    def draw(seed):
        return list(ask(discrete[0], prompt, Drawing(1.0, top_k=50), most=40, seed=seed))

    assert draw(1) == draw(1) != draw(2)


def test_many_at_once_get_what_each_gets_alone(discrete):
    data = golden("mtp_lm").arrays()
    names = [f"prompt{number % 3}" for number in range(6)]
    replies = [ask(discrete[0], ids(data[f"input/{name}/input_ids"])) for name in names]
    written = [[] for _ in replies]
    for _ in range(120):
        for reply, tokens in zip(replies, written, strict=True):
            tokens.append(next(reply))
    assert written == [ids(data[f"output/{name}/vanilla/new_token_ids"]) for name in names]


def test_a_cancel_stops_the_server(discrete, place):
    cancel = Cancel()
    reply = ask(discrete[0], [1, 2, 3], most=500, cancel=cancel)
    next(reply)
    cancel.set()
    with pytest.raises(CancelledError):
        list(reply)
    end = time.monotonic() + 10
    while "aborted" not in (place / "tiny.log").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_the_server_cannot_do_is_told(discrete):
    server, url, _ = discrete
    with pytest.raises(InputError, match="sees 512"):
        list(ask(server, [1] * 512))
    with pytest.raises(
        UnavailableError, match="only if it was started with --enable-prompt-embeds"
    ):
        list(ask(server, pack(torch.zeros(3, 48))))
    other = TokenServer(Remote((f"{url}/v1",)), "VITA-Audio-Boost")
    with pytest.raises(UnavailableError, match="has tiny, not VITA-Audio-Boost"):
        list(ask(other, [1]))
    other.close()


def test_the_sound_of_a_plus_model_goes_in_as_vectors(place):
    case = golden("mtp_lm_sensevoice")
    data = case.arrays()
    snapshot = widen(case.checkpoint, place / "plus-snapshot")
    table = EmbeddingTable(snapshot)
    convert(plan(snapshot), place / "plus")
    # The reference ran these weights in float32.
    flags = ("--dtype", "float32", "--skip-tokenizer-init", "--enable-prompt-embeds")
    with serving(place / "plus", place / "plus.log", *flags) as url:
        server = TokenServer(Remote((f"{url}/v1",)))
        for run, sounds in (("one_audio", 1), ("two_audios", 2)):
            vectors = table(ids(data[f"{run}/input_ids"])).float()
            for number in range(sounds):
                places = data[f"{run}/audio_indices_{number}"][1, 0]
                sound = data[f"{run}/audio_embeds"][number, : len(places)]
                vectors[places] = padded(sound)
            torch.testing.assert_close(vectors, padded(data[f"{run}/prefill_inputs_embeds"]))
            reply = list(ask(server, pack(vectors)))
            assert reply == ids(data[f"{run}/vanilla/new_token_ids"])
        with pytest.raises(UnavailableError, match="made from this very snapshot"):
            list(ask(server, pack(torch.zeros(3, 48))))
        server.close()


def test_vita15_answers_as_with_its_language_model_here(place, story, monkeypatch):
    # Heads of 32 numbers, as vLLM's attention on a CPU wants them.
    small = vita15_checkpoint.SIZES
    sizes = replace(small, hidden=128, audio=replace(small.audio, output=128))
    data = vita15_checkpoint.place(place / "vita15", sizes=sizes)
    convert(plan(data / "weights" / "VITA-1.5"), place / "vita15-stock")
    # In bfloat16 the two would round differently.
    loading = vita15.loading
    monkeypatch.setattr(
        vita15, "loading", lambda *given: replace(loading(*given), dtype=torch.float32)
    )
    clip = Audio(story.samples[: 2 * story.rate], story.rate)
    image = Image(picture("red", 300, 200))
    turns = [Turn(text="Good morning."), Turn(clip), Turn(clip, "Look", (image,), (image,) * 4)]
    # The tiny tokenizer has a token a letter, so prompts are long.
    flags = ("--dtype", "float32", "--skip-tokenizer-init", "--enable-prompt-embeds")
    flags += ("--max-model-len", "4096")
    with serving(place / "vita15-stock", place / "vita15.log", *flags) as url:
        for here in vita15_house.services_over(data, sizes):
            for there in vita15_house.services_over(data, sizes, vita15_url=f"{url}/v1"):
                for turn in turns:
                    wanted, got = (
                        list(vita15_house.ask(services.engine(vita15_house.NAME), turn))
                        for services in (here, there)
                    )
                    assert text_of(got) == text_of(wanted) != ""
                    assert np.array_equal(sound_of(got), sound_of(wanted))


def test_a_real_small_model_is_the_chat_model_of_the_cascade(place):
    data = Settings(_env_file=None).data
    gguf = Store(data / "weights").ensure("smollm2-135m")
    subprocess.run(
        [PROGRAMS / "python", ROOT / "tests" / "gguf_to_folder.py", gguf, place / "smollm2"],
        check=True,
        stdout=sys.stderr,
    )
    flags = ("--served-model-name", "smollm2", "--dtype", "float32")
    with serving(place / "smollm2", place / "smollm2.log", *flags) as url:
        settings = Settings(
            _env_file=None, chat_url=f"{url}/v1", chat_name="smollm2", engine="remote", warm=False
        )
        with Services(settings) as services:
            events = list(
                services.converse(
                    Turn(text="What is the capital of France?"),
                    Conversation(),
                    sampling=Sampling(temperature=0, max_tokens=40, seed=1),
                    cancel=Cancel(),
                )
            )
        answer = "".join(event.text for event in events if isinstance(event, TextDelta))
        speech = [event.audio for event in events if isinstance(event, AudioChunk)]
        print(answer)
        assert "Paris" in answer
        assert sum(piece.seconds for piece in speech) > 1
        assert isinstance(events[-1], Finished)
