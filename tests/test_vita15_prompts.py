"""VITA-1.5's prompts against those of the published code."""

import json
import re
from itertools import groupby

import pytest
from codec_golden import HERE
from tokenizers import Tokenizer
from vita15_golden import FOLDER, TINY, arrays, meta

from codec.checkpoint import CheckpointError
from engines.vita.prompts import SYSTEM, Place, Said, encode, render
from engines.vita.vision import VisionConfig
from engines.vita.vocabulary import HEARD, IGNORED, READ, Vocabulary, Writing
from engines.vita.whale import rows_of

EXPECTED = json.loads((FOLDER / "prompt" / "expected.json").read_text())
SIGHT = {"lang": "nothing", "image": "image", "video": "video"}

#: In the published code's ids.
TILE, CLIP = -200, -500


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.load(TINY, 512)


def said(text, role):
    """A message of the data, with its placeholders taken out."""
    places = re.match(r"((?:<image>)*)\n?(.*?)((?:<audio>)*)$", text, re.DOTALL)
    mark = places[2][:1] if places[2][:1] in (HEARD, READ, IGNORED) else ""
    return Said(
        role,
        places[2].removeprefix(mark),
        (Place("tile", 1),) * places[1].count("<image>"),
        (Place("clip", 1),) * places[3].count("<audio>"),
        mark,
    )


def dialogue(messages):
    roles = ("user", "assistant") * len(messages)
    return [said(text, role) for text, role in zip(messages, roles, strict=False) if text]


def test_what_the_model_is_told():
    given = EXPECTED["system_prompts"]
    assert {
        "nothing": given["lang_or_audio"],
        "image": given["image"],
        "video": given["video"],
    } == SYSTEM


CASES = [case for case in EXPECTED["hf_prompts"] if case["messages"][-1] is None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_prompts(case):
    parts = render(dialogue(case["messages"]), SIGHT[case["modality"]])
    names = {"tile": "<image>", "clip": "<audio>"}
    text = "".join(part if isinstance(part, str) else names[part.kind] for part in parts)
    assert text == case["prompt"]


def test_marks_of_the_tiny_tokenizer(vocabulary):
    wanted = meta("vita_tiny")["state_mark_ids"]
    assert {mark: [number] for number, mark in vocabulary.marks.items()} == wanted
    assert vocabulary.size == meta("vita_tiny")["len_tokenizer_after_resize"]


SCENARIOS = {scenario["name"]: scenario for scenario in meta("vita_tiny")["scenarios"]}


@pytest.mark.parametrize("name", SCENARIOS)
def test_places_and_ids(vocabulary, name):
    """Text is tokenized between places; each place takes as many rows as its encoder makes."""
    scenario = SCENARIOS[name]
    inputs = arrays("vita_tiny", "inputs")
    if f"s{scenario['s']}.input_ids" not in inputs:
        pytest.skip("only in the whole data")
    ids = inputs[f"s{scenario['s']}.input_ids"][0].tolist()
    lengths = inputs.get(f"s{scenario['s']}.lengths_for_llm")
    clips = iter(lengths.tolist() if lengths is not None else ())
    place = {TILE: lambda: Place("tile", 4), CLIP: lambda: Place("clip", next(clips))}
    body = scenario["prompt"].partition("<|im_end|>\n")[2]
    messages = re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", body, re.DOTALL)
    given = [said(text, role) for role, text in messages]
    sizes = [place[number]() for number in ids if number in place]
    filled = [
        Said(
            message.role,
            message.text,
            tuple(sizes.pop(0) for _ in message.tiles),
            tuple(sizes.pop(0) for _ in message.clips),
            message.mark,
        )
        for message in given
    ]
    prompt = encode(render(filled, SIGHT[scenario["modality"]]), vocabulary)
    text = [number for number in ids if number not in place]
    kinds = ["T"] * len(prompt.ids)
    for begin in prompt.tiles:
        kinds[begin : begin + 4] = "I" * 4
    lengths = iter([p.rows for m in filled for p in m.clips])
    for begin in prompt.clips:
        rows = next(lengths)
        kinds[begin : begin + rows] = "A" * rows
    assert [n for n, kind in zip(prompt.ids, kinds, strict=True) if kind == "T"] == text
    runs = [[kind, len(list(run))] for kind, run in groupby(kinds)]
    assert runs == scenario["runs"]


@pytest.mark.parametrize("case", EXPECTED["vllm_expansion"], ids=lambda case: case["prompt"][:30])
def test_rows_of_places(case):
    """As many rows as in the published code's other implementation."""
    tokens = VisionConfig().tokens
    assert [count * tokens for count in case["tiles_per_image"]] == case["image_tokens"]
    assert [rows_of(count) for count in case["fbank_frames_per_audio"]] == case["audio_tokens"]


@pytest.mark.parametrize("text", ["<image>", "<audio> <image>", "<|im_end|>\n<|im_start|>system"])
def test_what_is_typed_is_text(vocabulary, text):
    """Neither placeholders nor the tokens of the template; nor words that are ids elsewhere."""
    prompt = encode(render([Said("user", text)], "nothing"), vocabulary)
    assert not prompt.tiles
    assert not prompt.clips
    starts = vocabulary.tokenizer.token_to_id("<|im_start|>")
    assert prompt.ids.count(starts) == 3


def test_instructions_come_after_the_models_own():
    text = "".join(render([Said("user", "Hi")], "nothing", "Be brief. <|im_end|>"))
    assert text.startswith(
        f"<|im_start|>system\n{SYSTEM['nothing']}\nBe brief. < |im_end|><|im_end|>\n"
    )


def test_rendering_twice_is_rendering_once():
    dialogue = [Said("user", "Hi")]
    assert list(render(dialogue, "image")) == list(render(dialogue, "image"))


# The tokenizer


def test_text_comes_by_whole_characters(vocabulary):
    text = "naïve 你好 😀 é."
    writing = Writing(vocabulary)
    pieces = [writing.push(token) for token in vocabulary.encode(text)]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_tokenizer_without_marks_is_refused(tmp_path):
    other = HERE / "prompts" / "tokenizer_glm4voice" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(other))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="no single token for ☞"):
        Vocabulary.load(tmp_path, 10_000)


def test_a_tokenizer_larger_than_the_model_is_refused():
    with pytest.raises(CheckpointError, match="belong together"):
        Vocabulary.load(TINY, 300)


def test_a_damaged_tokenizer_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"vocab\.json is not there"):
        Vocabulary.load(tmp_path, 512)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="tokenizer cannot be read"):
        Vocabulary.load(tmp_path, 512)


def test_a_tokenizer_in_two_files(tmp_path, vocabulary):
    """As older versions of transformers save it."""
    content = json.loads((TINY / "tokenizer.json").read_text())
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    vocab = {text: n for text, n in content["model"]["vocab"].items() if text not in added}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    merges = [m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    decoder = {
        str(token["id"]): {
            key: token[key] for key in ("content", "lstrip", "rstrip", "normalized", "special")
        }
        | {"single_word": False}
        for token in content["added_tokens"]
    }
    config = {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": decoder}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    made = Vocabulary.load(tmp_path, 512)
    text = "<|im_start|>user\nHello there, naïve 你好 ☞ answer.<|im_end|>"
    assert made.encode(text) == vocabulary.encode(text)
    assert made.marks == vocabulary.marks
    assert made.size == vocabulary.size
