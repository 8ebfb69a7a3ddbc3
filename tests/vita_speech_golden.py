"""Finds the reference data of VITA-1.5's voice, here or in the folder `PARLEY_GOLDEN` names."""

import json

from codec_golden import GOLDEN, HERE
from safetensors.torch import load_file

from engines.vita.speech.codec import Codec
from engines.vita.speech.decoder import TokenDecoder
from engines.vita.speech.head import SpeechHead


def cases(kind):
    """Every folder of a kind; none where the data is not beside the tests."""
    found = sorted(GOLDEN.rglob("meta.json")) or sorted(HERE.rglob("meta.json"))
    return [path.parent for path in found if path.parent.name.startswith(kind)]


def meta(folder):
    return json.loads((folder / "meta.json").read_text())


def expected(folder):
    return load_file(folder / "expected.safetensors")


def inputs(folder):
    return load_file(folder / "inputs.safetensors")


def expected_json(folder):
    return json.loads((folder / "expected.json").read_text())


def decoder(folder):
    return TokenDecoder.load(folder / "decoder")


def codec(folder):
    return Codec.load(folder / "codec")


def head(folder):
    """The head that a case of streaming uses: the parts of its neighbours."""
    beside = folder.parent
    table = inputs(beside / "tts_ar")["llm_embedding_table"]
    parts = decoder(beside / "tts_ar"), codec(beside / "tts_codec")
    return SpeechHead(*parts, table, lambda text: [ord(char) % len(table) for char in text])
