import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.sentences import LONGEST, clauses, spoken_clauses

ANSWER = (
    "Certainly, I can help with that. The capital of France is Paris, which lies on the Seine."
    " It has 2.1 million people (as of 2020). Dr. Smith went to Washington D.C. yesterday."
    " He paid $3.50, e.g. for a coffee. Is that all? Yes, it is!"
)


def tokens_of(text):
    """Tokens as a chat model makes them: words with the space before them, marks alone."""
    return re.findall(r"[ ]?\w+|\s|[^\w\s]", text)


def cut(text):
    return [clause.strip() for clause in clauses(tokens_of(text))]


def squeezed(text):
    return "".join(text.split())


def test_an_answer():
    assert cut(ANSWER) == [
        "Certainly,",
        "I can help with that.",
        "The capital of France is Paris, which lies on the Seine.",
        "It has 2.1 million people (as of 2020).",
        "Dr. Smith went to Washington D.C. yesterday.",
        "He paid $3.50, e.g. for a coffee.",
        "Is that all?",
        "Yes, it is!",
    ]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Well, hello there, and welcome.", "Well, hello there,"),  # "Well," alone is too short
        ("Here is the answer: it depends.", "Here is the answer:"),
        ("That is true; still, wait.", "That is true;"),
        ("That is true — still, wait.", "That is true —"),
        ("About 1,000,000 people, or so.", "About 1,000,000 people,"),
        ("你好，我是一个助手，很高兴认识你。", "你好，我是一个助手，"),
        (
            "The reason that we use small models is because they are fast",
            "The reason that we use small models",
        ),
        (
            "The Eiffel Tower was built in Paris by a French engineer named Gustave",
            "The Eiffel Tower was built",
        ),
        (
            "My favourite small green robot quickly builds tall stone walls every day now",
            "My favourite small green robot quickly builds",
        ),
    ],
)
def test_first_clause(text, first):
    assert next(clauses(tokens_of(text))).strip() == first


def test_the_second_clause_is_written_before_the_first_has_been_heard():
    count = ", ".join(f"number {n}" for n in range(1, 80))
    first, second, third, *_ = clauses(tokens_of(f"Here I go: {count}."))
    assert first.strip() == "Here I go:"
    assert 33 < len(second) <= 100 < len(third) <= LONGEST
    assert second.endswith(",")


def test_where_nobody_waits_the_first_clause_is_a_sentence_too():
    text = "My favourite small green robot, as you see, builds tall stone walls. It rests."
    first, second = clauses(tokens_of(text), hurried=False)
    assert (first.strip(), second.strip()) == (text[: text.index(".") + 1], "It rests.")


def test_first_clause_does_not_wait_for_the_next_token():
    pulled = []

    def source():
        for token in tokens_of(ANSWER):
            pulled.append(token)
            yield token

    stream = clauses(source())
    assert not pulled
    assert next(stream) == "Certainly,"
    assert "".join(pulled) == "Certainly,"


def test_sentences_come_at_most_one_token_after_their_end():
    pulled = [0]
    tokens = tokens_of(ANSWER)

    def source():
        for token in tokens:
            pulled[0] += 1
            yield token

    done = 0
    for clause in clauses(source()):
        done += len(clause)
        behind = "".join(tokens[: pulled[0]])[done:]
        assert len(tokens_of(behind)) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "They met Mr. and Mrs. Jones of Jones & Co. in the U.S. last May.",
        "It costs 3.50 dollars, i.e. less than 4.00 dollars.",
        "Use e.g. a list vs. a tuple etc. for that.",
        "Node.js and example.com are names.",
        "Visit https://example.com/a?b=1&c=2 for more.",
        "Wait... there is more.",
        "Wait… there is more.",
        "Version 1.2.3 came out at 5 p.m. on Monday.",
        "Use `x. Y! Z?` for that.",
        r"Thus \(f(x). G\) and $a. B$ hold.",
        "See [this. Or that](https://example.com/x. Y) here.",
        "Prof. J. R. R. Tolkien wrote it.",
        "Yahoo! is a company.",
    ],
)
def test_not_cut(text):
    # The first clause is cut early by design; here only whole sentences count.
    assert cut("Here we go:\n" + text)[1:] == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'He said "Stop right there." Then he left.',
            ['He said "Stop right there."', "Then he left."],
        ),
        ("It works (I think so.) Great news!", ["It works (I think so.)", "Great news!"]),
        ("**Bold sentence.** Another one.", ["**Bold sentence.**", "Another one."]),
        ("Is it so?! Certainly it is.", ["Is it so?!", "Certainly it is."]),
        ("It was in 1999. Then it ended.", ["It was in 1999.", "Then it ended."]),
        ("No. Never do that. Ok.", ["No. Never do that.", "Ok."]),
        (
            "Steps: 1. Open the file. 2. Save the file.",
            ["Steps: 1. Open the file.", "2. Save the file."],
        ),
        (
            "今天天气很好。你想去哪里呢？我们去公园！",
            ["今天天气很好。", "你想去哪里呢？", "我们去公园！"],
        ),
        ("好。我们去公园！", ["好。我们去公园！"]),
        (
            "「今天天气很好，很好很好。」我们去公园。",
            ["「今天天气很好，很好很好。」", "我们去公园。"],
        ),
        ("一二三四五六七八九十！ＡＢＣ全角です。", ["一二三四五六七八九十！", "ＡＢＣ全角です。"]),
        ("هذه جملة طويلة؟ نعم هذه جملة.", ["هذه جملة طويلة؟", "نعم هذه جملة."]),
    ],
)
def test_cut(text, expected):
    assert cut("Here we go:\n" + text)[1:] == expected


def test_lines_and_list_items_end_a_clause():
    text = "Two things:\n- one, and\n- two\n\n1. First\n2. Second\n\nNew paragraph\r\nwith a line"
    assert cut(text) == [
        "Two things:",
        "- one, and",
        "- two",
        "1. First",
        "2. Second",
        "New paragraph",
        "with a line",
    ]


def test_blank_lines_stay_with_their_clause():
    assert list(clauses(["One line.\n\nTwo"])) == ["One line.\n\n", "Two"]


def test_long_sentences_are_cut_at_clauses():
    part = "and then we went on to the next town, "
    found = cut("It began early in the morning, " + part * 30 + "and that was all.")
    assert all(len(clause) <= LONGEST for clause in found)
    assert all(clause.endswith(",") for clause in found[:-1])
    words = "word " * 300
    assert all(set(clause.split()) == {"word"} for clause in cut(words))


@pytest.mark.parametrize("text", ["a" * 100_000, "好" * 9000, "e\u0301" * 900, "`" + "x y " * 9000])
def test_text_without_an_end_is_bounded(text):
    found = cut(text)
    assert all(len(clause) <= LONGEST for clause in found)
    assert squeezed("".join(found)) == squeezed(text)
    assert not any(clause.startswith("\u0301") for clause in found)


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", " \t \n" * 1000])
def test_blank(text):
    assert list(clauses([text])) == []
    assert list(clauses(text)) == []


def test_closing_closes_the_source():
    closed = []

    def source():
        try:
            while True:
                yield "Some words, "
        finally:
            closed.append(True)

    stream = clauses(source())
    next(stream)
    assert not closed
    stream.close()
    assert closed


def test_errors_of_the_source_come_through():
    def source():
        yield "Some words, and"
        raise OSError("gone")

    stream = clauses(source())
    assert next(stream) == "Some words,"
    with pytest.raises(OSError, match="gone"):
        next(stream)


TEXTS = st.one_of(
    st.text(max_size=600),
    st.lists(
        st.sampled_from(
            [
                *"ab .,:;!?\n\"'()[]`$*-…—。，",
                "Dr. ",
                "U.S. ",
                "3.5",
                " and ",
                "word ",
                "\\(",
                "\\)",
            ]
        ),
        max_size=300,
    ).map("".join),
)


@given(TEXTS, st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_nothing_is_lost_however_the_text_is_cut_into_tokens(text, random):
    at = sorted(random.randint(0, len(text)) for _ in range(random.randint(0, 40)))
    tokens = [text[a:b] for a, b in pairwise([0, *at, len(text)])]
    found = list(clauses(tokens))
    assert squeezed("".join(found)) == squeezed(text)
    assert all(clause.strip() for clause in found)
    assert all(len(clause.strip()) <= LONGEST for clause in found)
    assert [clause.strip() for clause in found] == [clause.strip() for clause in clauses(text)]


def test_speed():
    text = (ANSWER + " ") * 400
    text = text[:100_000]
    for tokens in (tokens_of(text), [text]):
        began = time.perf_counter()
        count = sum(1 for _ in clauses(tokens))
        took = time.perf_counter() - began
        print(f"{count} clauses of 100,000 characters in {took:.2f} s")
        assert took < 5


def test_letters_of_every_script_are_spoken_where_the_voice_has_them():
    text = "你好世界。今天 **天气** 很好！ Привет, мир. नमस्ते 😀"
    said = list(spoken_clauses([text], hurried=False, every_script=True))
    assert "".join(said).replace(" ", "") == "你好世界。今天天气很好！Привет,мир.नमस्ते"
    assert list(spoken_clauses([text], hurried=False)) == []
