"""Weights in 8 or 4 bits: less memory, nearly the same scores, or a plain refusal."""

import importlib.util

import pytest
import torch
from vita_golden import LM

from engines.base import Cancel
from engines.native.quantization import rounding, stored_bytes
from engines.native.steps import Steps
from engines.vita_audio.checkpoint import load_language_model
from engines.vita_audio.decoding import Decoding
from engines.vita_audio.generation import Generation
from engines.vita_audio.schedule import BOOST
from errors import InputError, UnavailableError

PROMPT = list(range(60, 90))


def scores(model):
    with torch.inference_mode():
        return Decoding(model, PROMPT).advance().float()


@pytest.mark.parametrize(
    ("precision", "share", "near"), [("int8", 0.65, 0.999), ("int4", 0.5, 0.9)]
)
def test_rounded_weights_are_smaller_and_say_nearly_the_same(precision, share, near):
    full = load_language_model(LM.checkpoint)
    rounded = load_language_model(LM.checkpoint, precision=precision)
    linear = sum(m.weight.nbytes for m in full.modules() if isinstance(m, torch.nn.Linear))
    other = stored_bytes(full) - linear
    assert stored_bytes(rounded) - other < share * linear
    alike = torch.cosine_similarity(scores(full), scores(rounded), dim=0)
    assert near < alike < 1  # Rounded it is.
    assert rounded.dtype == torch.bfloat16

    steps = Steps("language")
    language = Generation(rounded, steps)
    replies = [
        list(language.generate(PROMPT, mode=BOOST, max_tokens=20, cancel=Cancel()))
        for _ in range(2)
    ]
    steps.close()
    assert len(replies[0]) == 20
    assert replies[0] == replies[1]


def test_int4_goes_with_half_precision_only():
    with pytest.raises(InputError, match="int4 go with bfloat16"):
        load_language_model(LM.checkpoint, dtype=torch.float32, precision="int4")
    with pytest.raises(UnavailableError, match="int4 on mps"):
        rounding("int4", "mps", torch.bfloat16)


def test_without_torchao_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="int8 need torchao"):
        load_language_model(LM.checkpoint, precision="int8")
    assert load_language_model(LM.checkpoint, precision="full")
