"""The whole of VITA-1.5 against what the published code gave for the same tiny weights."""

from collections import deque
from dataclasses import replace

import pytest
import torch
from vita15_golden import DATA, TINY, arrays, close, meta

from engines.base import Cancel
from engines.native.sampling import Drawing
from engines.native.snapshot import Rows, Snapshot
from engines.native.steps import Steps
from engines.vita.config import Config
from engines.vita.layout import PUBLISHED, Sizes, encoder_weights, tensors
from engines.vita.loading import Loaded, Loading, Reader, memory
from engines.vita.prompts import Prompt
from engines.vita.runtime import Runtime, Senses
from engines.vita.vocabulary import Vocabulary
from engines.vita.whale import WhaleConfig
from engines.vita_audio.attention import causal_mask
from engines.vita_audio.cache import Caches
from engines.vita_audio.generation import Generation

pytestmark = pytest.mark.skipif(not DATA, reason="the tiny model is only in the whole data")

TILE, CLIP = -200, -500
SCENARIOS = meta("vita_tiny")["scenarios"] if DATA else []
ALL = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
#: Where the two likeliest tokens are closer than that, rounding may decide.
GAP = 0.01


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def runtime():
    """The reference's checkpoint, which has no voice, in full precision."""
    snapshot, config = Snapshot(TINY), Config.read(TINY, TINY / "vision_tower_config")
    audio = WhaleConfig.of(snapshot.shapes, TINY)
    assert tensors(Sizes.of(config.language, audio, config.vision)) == snapshot.shapes
    vocabulary = Vocabulary.load(TINY, config.language.vocabulary)
    loading = Loading(dtype=torch.float32, sizes=Sizes.of(config.language, audio, config.vision))
    config = replace(config, language=replace(config.language, vocabulary=vocabulary.size))
    with torch.inference_mode():
        reader = Reader(snapshot, loading, None, None)
        language = reader.language(config.language)
        loaded = Loaded(
            config,
            vocabulary,
            language,
            reader.whale(audio, config),
            reader.vision(config),
            None,
        )
    steps = Steps("vita", 4)
    runtime = Runtime(loaded, Generation(language, steps, window=config.longest), steps, 12)
    yield runtime
    runtime.close()


def given(scenario):
    """Prompt and senses of a scenario, from the ids of the published code."""
    inputs, prefix = arrays("vita_tiny", "inputs"), f"s{scenario['s']}."
    lengths = inputs.get(f"{prefix}lengths_for_llm")
    lengths = [] if lengths is None else lengths.tolist()
    ids, tiles, clips = [], [], []
    for number in inputs[f"{prefix}input_ids"][0].tolist():
        if number == TILE:
            tiles.append(len(ids))
            ids += [0] * 4
        elif number == CLIP:
            ids_before = len(ids)
            ids += [0] * lengths[len(clips)]
            clips.append(ids_before)
        else:
            ids.append(number)
    heard = []
    if clips:
        frames = inputs[f"{prefix}lengths"].tolist()
        heard = [
            clip[:count].numpy()
            for clip, count in zip(inputs[f"{prefix}fbank"], frames, strict=True)
        ]
    shown = [inputs[f"{prefix}images"].numpy()] if tiles else []
    return Prompt(tuple(ids), tuple(tiles), tuple(clips)), Senses(heard, shown)


def filled(runtime, prompt, senses):
    (rows,) = deque(runtime._filled(prompt, senses), maxlen=1)
    return rows


@ALL
def test_rows_of_prompts(runtime, scenario):
    prompt, senses = given(scenario)
    assert len(prompt.ids) == scenario["sequence_length"]
    wanted = arrays("vita_tiny")[f"s{scenario['s']}.inputs_embeds"][0]
    close(filled(runtime, prompt, senses), wanted, 5e-4)


@ALL
def test_scores(runtime, scenario):
    expected, prefix = arrays("vita_tiny"), f"s{scenario['s']}."
    prompt, senses = given(scenario)
    model = runtime.loaded.language
    rows = filled(runtime, prompt, senses)
    places = torch.arange(len(rows))
    mask = causal_mask(0, len(rows), model.device)
    scores = model.logits(model.main(rows[None], places, Caches(model.config, len(rows)), mask))[0]
    close(scores[-1], expected[f"{prefix}logits_last"], 5e-3)
    certain = expected[f"{prefix}argmax_gap"] > GAP
    assert certain.float().mean() > 0.5
    right = scores.argmax(-1) == expected[f"{prefix}logits_argmax"]
    assert right[certain].all()


@ALL
def test_replies(runtime, scenario):
    expected, prefix = arrays("vita_tiny"), f"s{scenario['s']}."
    wanted = expected[f"{prefix}generated"].tolist()
    assert expected[f"{prefix}generated_gap"].min() > GAP
    prompt, senses = given(scenario)
    made = runtime.write(
        prompt, senses, drawing=Drawing(), seed=1, max_tokens=len(wanted), cancel=Cancel()
    )
    assert list(made) == wanted


def test_replies_at_once_are_those_alone(runtime):
    """One is listened to while others are answered: all are steps in the same round."""
    asked = [given(scenario) for scenario in SCENARIOS]

    def reply(number):
        prompt, senses = asked[number]
        options = {"drawing": Drawing(0.9, 20, 0.8), "seed": number, "max_tokens": 10}
        return runtime.write(prompt, senses, cancel=Cancel(), **options)

    alone = [list(reply(number)) for number in range(4)]
    together = [[] for _ in alone]
    replies = [reply(number) for number in range(4)]
    for _ in range(10):
        for number, tokens in enumerate(replies):
            together[number] += [token for token in [next(tokens, None)] if token is not None]
    assert together == alone


def test_rows_beyond_the_tokenizer_are_left_out(runtime):
    tokens = meta("vita_tiny")["len_tokenizer_after_resize"]
    model = runtime.loaded.language
    stored = Snapshot(TINY).shapes["lm_head.weight"][0]
    assert model.lm_head.weight.shape[0] == tokens < stored


def test_rows_of_a_tensor_are_checked(runtime):
    """A tensor that is shorter than what is to be taken of it, or not as long as it must be."""
    snapshot = Snapshot(TINY)
    table = torch.nn.Embedding(600, 64)
    for source in (Rows("lm_head.weight"), Rows("lm_head.weight", 0, 700)):
        with pytest.raises(Exception, match=r"lm_head\.weight is"):
            snapshot.load(
                table, device="cpu", dtype=torch.float32, names={"weight": source}, ignored=".+"
            )


def test_memory_of_conversations(runtime):
    config = runtime.loaded.config
    weights, kept = memory(config, Loading(dtype=torch.float32, users=3, window=100))
    assert kept == 3 * 100 * 4 * config.language.cached_per_token
    assert weights > 4 * encoder_weights(PUBLISHED)
