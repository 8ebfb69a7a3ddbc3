"""The text of a reply, cut and cleaned for the voice of VITA-1.5."""

import pytest

from engines.vita.speech.units import Units


def units(text, size=1000):
    made = Units()
    found = []
    for at in range(0, len(text), size):
        found += made.push(text[at : at + size])
    return found + list(made.finish())


@pytest.mark.parametrize(
    ("reply", "spoken"),
    [
        (
            "☞Hello, nice to meet you. How can I help you today?",
            ["hello, nice to meet you.", " how can i help you today?"],
        ),
        (
            "☞ Sure! The cost is about 3.5 dollars, using a standard rule",
            ["sure! the cost is about 3.5 dollars。", " using a standard rule"],
        ),
        (
            "☜好的，我来介绍一下。首先，今天天气不错！",
            ["好的，我来介绍一下。", "首先，今天天气不错！"],
        ),
        ("☞no punctuation at all", ["no punctuation at all"]),
        ("☞One line\nand another one<|im_end|>", ["one line", "and another one"]),
        ("<unk>☞☟☜", []),
        ("What? **Nothing** in `code`.", ["what? nothing in code."]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_reply_is_cut_where_it_pauses(reply, spoken, size):
    assert [unit.spoken.removeprefix(" ") for unit in units(reply, size)] == [
        text.removeprefix(" ") for text in spoken
    ]


def test_the_space_before_a_word_stays():
    first, second = units("This is the first one. This is the second.")
    assert not first.spoken.startswith(" ")
    assert second.spoken == " this is the second."


def test_words_are_those_that_were_written():
    text = "☞The **cost** is $3.50, isn't it? Yes; 2+2=4."
    assert " ".join(unit.words for unit in units(text)) == text[1:]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("sin(x)+cos(y) is it", "sine of x plus cosine of y is it"),
        ("it is a-b or a - b", "it is a-b or a minus b"),
        ("it is -3 here, and 9 - 5", "it is -3 here, and 9 minus 5"),
        ("so 3*4/2=6 now", "so 3 times 4 over 2 equals 6 now"),
        ("if x!=y or x >= z", "if x is not equal to y or x is greater than or equal to z"),
        ("where α+β=π holds", "where alpha plus beta equals pi holds"),
        ("so x^2 it is", "so x squared it is"),
        ("and 2^10=1024 is", "and 2 to the power of 10 equals 1024 is"),
        ("then sqrt(16) it is", "then the square root of 16 it is"),
        ("so a^2 + b^2 = c^2 holds", "so a squared plus b squared equals c squared holds"),
        ("about 3/4 of it", "about three quarters of it"),
        ("about 10/3 of it", "about 10 over 3 of it"),
        (r"now $\frac{a+b}{2}$ is it", "now a plus b, all over 2 is it"),
        ("some 3.5 m long", "some 3.5 meters long"),
        ("at 5 m/s or more", "at 5 meters per second or more"),
    ],
)
def test_mathematics_is_put_into_words(written, spoken):
    said = " ".join(unit.spoken.strip() for unit in units(f"☞We say that {written}"))
    assert said.replace("。", ",") == f"we say that {spoken}"


@pytest.mark.parametrize(
    "text",
    [
        "the cost of a standard second dialogue using log cabins",
        "a well-known half-hearted absolute tangent, e-mail and x-ray",
        "either and/or, TCP/IP, 24/7, on 9/11 or 2024-05-01",
        "he paid $3.50 at 10:30 for 3-5 exponents",
        "single maximum argument, secant, cosmos, tanning, explain it",
    ],
)
def test_ordinary_words_stay_as_they_are(text):
    said = " ".join(unit.spoken.strip() for unit in units(f"☞She said {text}."))
    assert said.replace("24 7", "24/7").replace("。", ",") == f"she said {text.lower()}."


def test_a_long_chinese_sentence_is_spoken_in_parts():
    text = "我们今天在公园里散步的时候看到了很多美丽的花朵，" * 12
    parts = units(text)
    assert "".join(unit.words for unit in parts) == text
    # At four and a half characters a second, 25 s are never reached.
    assert max(len(unit.words) for unit in parts) <= 80
