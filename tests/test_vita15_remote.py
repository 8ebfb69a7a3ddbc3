"""VITA-1.5's language model elsewhere stands in the place of the one here."""

import base64
import io

import numpy as np
import pytest
import torch
from engine_contract import sound_of, text_of
from seeing_engine import picture
from transformers import AutoModelForCausalLM
from vita15_checkpoint import place
from vita15_golden import DATA, TINY, arrays, meta
from vita15_house import NAME, ask, services_over
from vllm_stand_in import stand_in_fixture  # noqa: F401  (a fixture)

from engines.base import Cancel
from engines.images import Image
from engines.messages import Notice, Sampling, Turn
from engines.native.sampling import Drawing
from engines.vllm.convert import convert, plan
from speech.pcm import Audio

DEAD = "http://127.0.0.1:9/v1"  # Nobody listens at the port for discarding.


@pytest.mark.skipif(not DATA, reason="the tiny model is only in the whole data")
def test_the_stock_model_inside_computes_what_the_reference_does(tmp_path):
    """Greedy replies to prompts of vectors, as `vllm serve` is given them."""
    convert(plan(TINY), tmp_path / "stock")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "stock", dtype=torch.float32)
    assert model.config.vocab_size == meta("vita_tiny")["len_tokenizer_after_resize"]
    for scenario in meta("vita_tiny")["scenarios"]:
        prefix = f"s{scenario['s']}."
        rows = arrays("vita_tiny")[f"{prefix}inputs_embeds"]
        wanted = arrays("vita_tiny")[f"{prefix}generated"].tolist()
        reply = model.generate(
            inputs_embeds=rows,
            attention_mask=torch.ones(rows.shape[:2]),
            max_new_tokens=len(wanted),
            do_sample=False,
            eos_token_id=None,
        )
        assert reply[0].tolist() == wanted


def test_the_engine_answers_as_with_the_model_here(tmp_path, stand_in, story):
    """The server writes with the same weights, so the replies are the same to the sample."""
    data = place(tmp_path)
    stand_in.longest = 6200
    clip = Audio(story.samples[: 2 * story.rate], story.rate)
    image = Image(picture("red", 300, 200))
    turns = [Turn(text="Good morning."), Turn(clip), Turn(clip, "Look", (image,))]
    (here,) = houses = [services_over(data)]
    here = next(here)
    try:
        with here.models.use(NAME, cancel=Cancel()) as (runtime,):

            def write(asked):
                prompt, rows = asked["prompt"], None
                if prompt is None:
                    sent = io.BytesIO(base64.b64decode(asked["prompt_embeds"]))
                    rows = torch.load(sent, weights_only=True)
                return runtime.language.generate(
                    prompt or [0] * len(rows),
                    embeddings=rows,
                    drawing=Drawing(asked["temperature"], asked["top_k"], asked["top_p"]),
                    seed=asked["seed"],
                    stop=asked["stop_token_ids"],
                    max_tokens=asked["max_tokens"],
                    cancel=Cancel(),
                )

            stand_in.write = write
            for there in services_over(data, vita15_url=f"{DEAD},{stand_in.url}/v1"):
                stand_in.requests.clear()
                for turn in turns:
                    wanted, got = (
                        list(ask(services.engine(NAME), turn)) for services in (here, there)
                    )
                    assert text_of(got) == text_of(wanted) != ""
                    assert np.array_equal(sound_of(got), sound_of(wanted))
                    # The first address is dead; what holds for all turns is another matter.
                    notices = [e for e in got if isinstance(e, Notice) and not e.once]
                    (told,) = [event.text for event in notices]
                    assert f"{stand_in.url}/v1 answers instead" in told
                assert [bool(asked.get("prompt_embeds")) for asked in stand_in.requests] == [
                    False,
                    True,
                    True,
                ]
                the_mark_is_asked_for_by_itself(there.engine(NAME), stand_in)
    finally:
        for house in houses:
            house.close()


def the_mark_is_asked_for_by_itself(engine, stand_in):
    """At any temperature the first token is the likeliest; a server draws all in one way."""
    stand_in.requests.clear()
    sampling = Sampling(temperature=0.9, max_tokens=8, seed=3)
    assert text_of(ask(engine, Turn(text="Hm"), sampling=sampling, spoken=False))
    first, rest = stand_in.requests
    assert (first["temperature"], first["max_tokens"]) == (0.0, 1)
    assert (rest["temperature"], rest["max_tokens"]) == (0.9, 7)
    assert len(rest["prompt"]) == len(first["prompt"]) + 1
