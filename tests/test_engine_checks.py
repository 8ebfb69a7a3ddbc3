from dataclasses import replace

import numpy as np
import pytest
from seeing_engine import picture

from engines.base import EngineInfo, Reference, Voice
from engines.checks import check_turn, chosen_voice
from engines.images import Image
from engines.messages import Turn
from errors import InputError
from speech.pcm import Audio

SOUND = Audio(np.zeros(10, np.float32), 16_000)
REFERENCE = Reference("Rowan", SOUND)
INFO = EngineInfo(
    name="parrot",
    title="The Parrot",
    tasks=frozenset(["sqa"]),
    hears=("en",),
    speaks=("en",),
    voices=(Voice("Polly", "en", ""), Voice("Jack", "en", "")),
    rate=24_000,
)


def test_the_first_voice_is_taken_if_none_is_asked_for():
    assert chosen_voice(INFO, None) == "Polly"
    assert chosen_voice(INFO, "Jack") == "Jack"


@pytest.mark.parametrize("name", ["Rowan", "polly", ""])
def test_an_unknown_voice_is_refused(name):
    with pytest.raises(InputError, match=rf"no voice '{name}'. Voices: Polly, Jack"):
        chosen_voice(INFO, name)


def test_a_reference_is_for_engines_that_take_one():
    with pytest.raises(InputError, match="The Parrot speaks in its own voices only"):
        chosen_voice(INFO, REFERENCE)
    assert chosen_voice(replace(INFO, reference="clone"), REFERENCE) is REFERENCE


def test_a_turn_says_something():
    image = Image(picture("red"))
    check_turn(INFO, Turn(text="Hello"))
    check_turn(INFO, Turn(audio=SOUND))
    check_turn(replace(INFO, can_see=True), Turn(images=(image,)))
    check_turn(replace(INFO, can_see=True), Turn(frames=(image,)))
    for turn in (Turn(), Turn(text=" \n"), Turn(images=(image,))):
        with pytest.raises(InputError, match="nothing to answer"):
            check_turn(INFO, turn)
