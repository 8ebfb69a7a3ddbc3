"""Replies taken apart: text and codes in their order, whatever the marks are like."""

import json

import pytest
from vita_golden import prompt_folders

from engines.vita_audio.interleaving import Code, Interleaving, Text
from engines.vita_audio.vocabulary import Vocabulary
from errors import EngineError

(FOLDER, *_) = prompt_folders()
EXPECTED = json.loads((FOLDER.path / "expected.json").read_text())
WORDS = Vocabulary.load(FOLDER.path / "tokenizer_glm4voice", size=1000, codes=512, continuous=False)
B, E = WORDS.begin, WORDS.end


def taken(*parts):
    """What becomes of a reply given as texts, ids of marks and lists of codes."""
    ids = []
    for part in parts:
        if isinstance(part, str):
            ids += WORDS.encode(part)
        elif isinstance(part, int):
            ids.append(part)
        else:
            ids += [WORDS.first_code + code for code in part]
    reply = Interleaving(WORDS)
    return [made for token in ids if (made := reply.take(token)) is not None]


def text_of(made):
    return "".join(piece.text for piece in made if isinstance(piece, Text))


def codes_of(made):
    return [piece.code for piece in made if isinstance(piece, Code)]


def test_each_code_comes_out_with_its_token():
    reply = Interleaving(WORDS)
    assert reply.take(WORDS.first_code + 7) == Code(7)
    assert reply.take(B) is None


def test_text_and_codes_keep_their_order():
    made = taken("Hello", B, [1, 2], E, " there", B, [3], E)
    kinds = "".join("t" if isinstance(piece, Text) else "c" for piece in made)
    assert kinds.strip("t").startswith("cc")
    assert (text_of(made), codes_of(made)) == ("Hello there", [1, 2, 3])


@pytest.mark.parametrize(
    "parts",
    [
        ("Hi ", [1, 2], "there", B, [3], E),
        ("Hi ", E, [1], B, [2], "there", [3]),
        (B, B, "Hi ", [1, 2, 3], "there", E, E),
        ("Hi ", B, [1, 2, 3], "there"),
        ("Hi ", B, E, [1], E, B, [2], B, [3], "there", WORDS.turn),
    ],
)
def test_marks_in_the_wrong_place_lose_nothing(parts):
    made = taken(*parts)
    assert (text_of(made), codes_of(made)) == ("Hi there", [1, 2, 3])


def test_replies_of_one_kind():
    assert codes_of(taken("Only text.")) == []
    assert (text_of(taken(B, [5, 6], E)), codes_of(taken(B, [5, 6], E))) == ("", [5, 6])
    assert taken() == taken(B, E) == []


@pytest.mark.parametrize("text", ["介绍一下上海", "naïve café", "🙂 and 🎉!"])
def test_characters_of_several_tokens(text):
    """In this tokenizer every byte of them is a token; codes may stand between."""
    ids = WORDS.encode(text)
    assert len(ids) > len(text) / 2
    whole = taken(text)
    assert text_of(whole) == text
    assert all("�" not in piece.text for piece in whole)
    parts = [part for token in ids for part in (token, [1])]
    assert text_of(taken(*parts)) == text
    assert len(codes_of(taken(*parts))) == len(ids)


def test_half_a_character_is_not_shown():
    half = WORDS.encode("上")[:-1]
    assert text_of(taken("A", *half)) == "A"


@pytest.mark.parametrize("token", [WORDS.first_code + 512, 999, 5000, -1])
def test_ids_that_stand_for_nothing_are_refused(token):
    with pytest.raises(
        EngineError, match=rf"{token}, which stands for nothing.*{WORDS.first_code + 511}"
    ):
        Interleaving(WORDS).take(token)


@pytest.mark.parametrize("name", EXPECTED["text_audio_interval"])
def test_replies_as_the_models_were_trained(name):
    """The interleaving of training: every code reaches the decoder, every word the screen."""
    case = EXPECTED["text_audio_interval"][name]
    first = WORDS.first_code - 1000  # The data call codes 1000 and up.
    ids = [token + first if token >= 1000 else token for token in case["out"]]
    reply = Interleaving(WORDS)
    made = [piece for token in ids if (piece := reply.take(token)) is not None]
    wanted = [token - 1000 for token in case["in"] if token >= 1000]
    assert codes_of(made) == wanted
    text = [token for token in case["in"] if token < 427]
    assert text_of(made) == WORDS.decode(text)
