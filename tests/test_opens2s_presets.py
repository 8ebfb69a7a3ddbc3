"""OpenS2S's presets for cards of 24 and 40 GB."""

import importlib.util

import pytest
from engine_contract import sound_of, text_of
from opens2s_house import ask, place, services_fixture, settings  # noqa: F401  (a fixture)

from bench.opens2s_sizes import SIZES
from engines import needs
from engines.base import Cancel
from engines.messages import Conversation, Turn
from engines.opens2s import products
from engines.opens2s.products import PRESETS, PRODUCTS
from errors import InputError, UnavailableError
from services import Services


def test_presets_fit_their_cards_and_say_so(services):
    """With the caches of as many answers as they allow, and the decoder, on 92 % of the card."""
    decoder = next(
        status.memory for status in services.models.status() if status.name == "glm-4-voice-decoder"
    )
    for product in PRODUCTS:
        card = product.preset.card
        need = product.preset.memory(services.settings) + decoder
        assert 0.7 * card < need / 1e9 < 0.92 * card
        entry = services.entries[product.info.name]
        assert f"{card} GB" in entry.needs and f"{card} GB" in entry.info.notes
        assert f"blocks of {product.preset.block}" in entry.info.notes
    assert {product.preset.card for product in PRODUCTS} == {24, 40}


def test_what_a_preset_needs_grows_with_what_is_allowed(services):
    preset = PRESETS[0]
    less = services.settings.model_copy(update={"opens2s_window": 2048, "opens2s_users": 2})
    assert preset.within(services.settings) == (preset.window, preset.users)
    assert preset.within(less) == (2048, 2)
    assert preset.memory(less) < preset.memory(services.settings) - 7e9


def test_sizes_that_presets_count_with_are_those_of_the_published_model():
    """The table may not import torch, so its numbers are held against the layout here."""
    bytes_kept, linear = [], 0
    for hidden, layers, heads, kept, inner, words in SIZES["full"]:
        head = 128
        bytes_kept.append(layers * kept * head * 2 * 2)
        attention = 2 * hidden * heads * head + 2 * hidden * kept * head
        linear += layers * (attention + 3 * hidden * inner) + hidden * words
    assert bytes_kept == [products._KEPT, products._KEPT_SPEECH]
    assert linear == pytest.approx(products._LINEAR, rel=0.01)


def test_the_preset_for_a_small_card_answers_with_rounded_weights(services):
    small = services.engine("opens2s-24gb")
    events = list(ask(small, Turn(text="Why is the sky blue?")))
    assert text_of(events)
    assert len(sound_of(events))
    with services.models.use("opens2s-24gb", cancel=Cancel()) as (runtime,):
        model = runtime.loaded.model
        assert runtime.window == min(4096, model.config.llm.max_position_embeddings)
    rounded = {
        name
        for name, layer in model.named_modules()
        if hasattr(getattr(layer, "weight", None), "__tensor_flatten__")
    }
    assert "llm_model.lm_head" in rounded and "tts_lm_model.lm_head" in rounded
    assert len(rounded) == 2 + 7 * (
        model.config.llm.num_hidden_layers + model.config.speech.num_hidden_layers
    )
    full = services.entries["opens2s"].info
    assert services.entries["opens2s-24gb"].info.tasks == full.tasks


def test_the_preset_for_a_small_card_without_torchao(tmp_path, monkeypatch, request):
    known = importlib.util.find_spec

    def find(name, *rest):
        return None if name == "torchao" else known(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    needs._is_installed.cache_clear()
    request.addfinalizer(needs._is_installed.cache_clear)
    with Services(settings(place(tmp_path))) as services:
        fit = services.fit("opens2s-24gb")
        assert "torchao" in fit.reason + fit.remedy and "requirements-torchao.txt" in fit.remedy
        with pytest.raises(UnavailableError, match=r"requirements-torchao\.txt"):
            list(
                services.converse(
                    Turn(text="Hello."),
                    Conversation(),
                    engine="opens2s-24gb",
                    spoken=False,
                    cancel=Cancel(),
                )
            )


def test_a_dialogue_longer_than_is_kept(tmp_path):
    with (
        Services(settings(place(tmp_path), opens2s_window=80)) as small,
        pytest.raises(InputError, match=r"positions of 80.*PARLEY_OPENS2S_WINDOW"),
    ):
        list(ask(small.engine("opens2s"), Turn(text="word " * 20), spoken=False))
